// The Node SDK against a server of its own: the calls an application makes, and the shape of their answers.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

const require = createRequire(join(process.env.QUIVER_NODE_MODULES, 'here.js'));
const { MilvusClient, DataType, ErrorCode, MetricType } = require('@zilliz/milvus2-sdk-node');

const READY_MS = 60_000;
let scratch, log, server, ports, client;

async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => new Promise((done) => {
      const one = createServer().listen(0, '127.0.0.1', () => done(one));
    })),
  );
  const chosen = servers.map((one) => one.address().port);
  await Promise.all(servers.map((one) => new Promise((done) => one.close(done))));
  return chosen;
}

async function start() {
  server = spawn(process.env.QUIVER_BINARY,
    ['serve', '--data', join(scratch, 'data'), '--host', '127.0.0.1', '--port', ports[0], '--ops-port', ports[1]],
    { stdio: ['ignore', openSync(log, 'a'), openSync(log, 'a')] });
  const deadline = Date.now() + READY_MS;
  for (;;) {
    if (server.exitCode !== null) throw new Error(`server ended with ${server.exitCode}\n${readFileSync(log, 'utf8')}`);
    const healthy = await fetch(`http://127.0.0.1:${ports[1]}/healthz`).then((reply) => reply.ok, () => false);
    if (healthy) return;
    if (Date.now() > deadline) throw new Error(`server not healthy\n${readFileSync(log, 'utf8')}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

function stop() {
  return new Promise((done) => {
    server.once('exit', done);
    server.kill('SIGTERM');
  });
}

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'quiver-node-'));
  log = join(scratch, 'server.log');
  ports = await freePorts(2);
  await start();
  client = new MilvusClient({ address: `127.0.0.1:${ports[0]}` });
  await client.connectPromise;
});

after(async () => {
  await client?.closeConnection();
  if (server && server.exitCode === null) await stop();
  rmSync(scratch, { recursive: true, force: true });
});

function ok(reply) {
  const status = reply.status ?? reply;
  assert.equal(status.error_code, ErrorCode.SUCCESS, status.reason);
  return reply;
}

async function refused(work, text) {
  let reason;
  try {
    const reply = await work();
    const status = reply.status ?? reply;
    assert.notEqual(status.error_code, ErrorCode.SUCCESS, 'the request was accepted');
    reason = status.reason;
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    reason = String(error.message ?? error.reason ?? error.status?.reason ?? error);
  }
  assert.ok(reason.includes(text), reason);
}

const vector = (n) => [n, n, n, n];
let counter = 0;

async function made(more = [], options = {}) {
  const name = `node_${counter++}`;
  ok(await client.createCollection({
    collection_name: name,
    fields: [
      { name: 'id', data_type: DataType.Int64, is_primary_key: true },
      { name: 'vector', data_type: DataType.FloatVector, dim: 4 },
      ...more,
    ],
    ...options,
  }));
  ok(await client.createIndex({ collection_name: name, field_name: 'vector', index_type: 'FLAT', metric_type: MetricType.L2 }));
  ok(await client.loadCollectionSync({ collection_name: name }));
  return name;
}

test('smoke: connect, create, insert, search, restart', async () => {
  const name = await made([{ name: 'title', data_type: DataType.VarChar, max_length: 50 }]);
  const rows = Array.from({ length: 100 }, (_, i) => ({ id: i, vector: vector(i), title: `row ${i}` }));
  const inserted = ok(await client.insert({ collection_name: name, data: rows }));
  assert.equal(Number(inserted.insert_cnt), 100);
  const ask = () => client.search({ collection_name: name, data: vector(41.9), limit: 2, output_fields: ['id', 'title'] });
  const found = ok(await ask());
  assert.deepEqual(found.results.map((hit) => [Number(hit.id), hit.title]), [[42, 'row 42'], [41, 'row 41']]);
  await stop();
  assert.equal(server.exitCode, 0);
  await start();
  assert.deepEqual(ok(await ask()).results.map((hit) => Number(hit.id)), [42, 41]);
});

test('version and health', async () => {
  assert.ok(ok(await client.getVersion()).version);
  assert.equal((await client.checkHealth()).isHealthy, true);
});

test('describe tells what was created', async () => {
  const name = await made([{ name: 'n', data_type: DataType.Int32, nullable: true }], { enable_dynamic_field: true });
  const told = ok(await client.describeCollection({ collection_name: name }));
  assert.deepEqual(told.schema.fields.map((field) => field.name), ['id', 'vector', 'n']);
  assert.equal(told.schema.enable_dynamic_field, true);
  assert.equal(told.collection_name, name);
  assert.ok((await client.showCollections()).data.some((one) => one.name === name));
  assert.equal((await client.hasCollection({ collection_name: name })).value, true);
  assert.equal((await client.hasCollection({ collection_name: 'never_created' })).value, false);
});

test('all scalar types and nulls there and back', async () => {
  const name = await made([
    { name: 'flag', data_type: DataType.Bool }, { name: 'tiny', data_type: DataType.Int8 },
    { name: 'big', data_type: DataType.Int64 }, { name: 'd', data_type: DataType.Double },
    { name: 's', data_type: DataType.VarChar, max_length: 20, nullable: true }, { name: 'j', data_type: DataType.JSON },
    { name: 'a', data_type: DataType.Array, element_type: DataType.Int64, max_capacity: 4 },
  ]);
  ok(await client.insert({ collection_name: name, data: [
    { id: 1, vector: vector(1), flag: true, tiny: -128, big: '9007199254740993', d: 0.1, s: 'größe', j: { k: [1, 'x'] }, a: [1, 2] },
    { id: 2, vector: vector(2), flag: false, tiny: 127, big: -5, d: -2.5, s: null, j: {}, a: [] },
  ] }));
  const { data } = ok(await client.query({ collection_name: name, filter: 'id > 0',
    output_fields: ['flag', 'tiny', 'big', 'd', 's', 'j', 'a', 'vector'] }));
  data.sort((left, right) => Number(left.id) - Number(right.id));
  assert.equal(data[0].flag, true);
  assert.equal(data[0].tiny, -128);
  assert.equal(String(data[0].big), '9007199254740993');
  assert.equal(data[0].d, 0.1);
  assert.equal(data[0].s, 'größe');
  assert.deepEqual(data[0].j, { k: [1, 'x'] });
  assert.deepEqual(data[0].a.map(Number), [1, 2]);
  assert.deepEqual(data[0].vector, vector(1));
  assert.equal(data[1].s, null);
});

test('dynamic fields', async () => {
  const name = await made([], { enable_dynamic_field: true });
  ok(await client.insert({ collection_name: name, data: [
    { id: 1, vector: vector(1), colour: 'red' }, { id: 2, vector: vector(2), colour: 'blue', size: 3 }] }));
  const { data } = ok(await client.query({ collection_name: name, filter: 'colour == "blue"', output_fields: ['colour', 'size'] }));
  // This SDK shows dynamic keys inside the column they travel in.
  assert.deepEqual(data.map((row) => row.$meta), [{ colour: 'blue', size: 3 }]);
});

test('upsert, delete, count', async () => {
  const name = await made();
  const rows = (from, to, shift) => Array.from({ length: to - from }, (_, i) => ({ id: from + i, vector: vector(from + i + shift) }));
  ok(await client.insert({ collection_name: name, data: rows(0, 50, 0) }));
  assert.equal(Number(ok(await client.upsert({ collection_name: name, data: rows(40, 60, 100) })).upsert_cnt), 20);
  assert.equal(Number((await client.count({ collection_name: name })).data), 60);
  ok(await client.delete({ collection_name: name, ids: [1, 2] }));
  ok(await client.deleteEntities({ collection_name: name, filter: 'id >= 50' }));
  assert.equal(Number((await client.count({ collection_name: name })).data), 48);
  const found = ok(await client.search({ collection_name: name, data: vector(145), limit: 1, output_fields: ['id'] }));
  assert.equal(Number(found.results[0].id), 45);
  ok(await client.flushSync({ collection_names: [name] }));
  const statistics = ok(await client.getCollectionStatistics({ collection_name: name }));
  assert.equal(Number(statistics.data.row_count), 48);
});

test('search with filter, offset and several queries', async () => {
  const name = await made([{ name: 'group', data_type: DataType.Int64 }]);
  ok(await client.insert({ collection_name: name, data: Array.from({ length: 100 }, (_, i) => ({ id: i, vector: vector(i), group: i % 2 })) }));
  const filtered = ok(await client.search({ collection_name: name, data: vector(10), limit: 3, filter: 'group == 1', output_fields: ['id'] }));
  assert.deepEqual(filtered.results.map((hit) => Number(hit.id)), [9, 11, 7]);
  const paged = ok(await client.search({ collection_name: name, data: vector(0), limit: 2, offset: 5, output_fields: ['id'] }));
  assert.deepEqual(paged.results.map((hit) => Number(hit.id)), [5, 6]);
  const many = ok(await client.search({ collection_name: name, data: [vector(3), vector(4)], limit: 1, output_fields: ['id'] }));
  assert.deepEqual(many.results.map((hits) => Number(hits[0].id)), [3, 4]);
});

test('grouped search', async () => {
  const name = await made([{ name: 'group', data_type: DataType.Int64 }]);
  ok(await client.insert({ collection_name: name, data: Array.from({ length: 100 }, (_, i) => ({ id: i, vector: vector(i), group: i < 90 ? 0 : i % 3 })) }));
  const found = ok(await client.search({ collection_name: name, data: vector(0), limit: 3, group_by_field: 'group', group_size: 2, strict_group_size: true, output_fields: ['id', 'group'] }));
  assert.deepEqual(found.results.map((hit) => [Number(hit.id), Number(hit.group)]), [[0, 0], [1, 0], [91, 1], [94, 1], [92, 2], [95, 2]]);
});

test('hybrid search', async () => {
  const name = await made([{ name: 'group', data_type: DataType.Int64 }]);
  ok(await client.insert({ collection_name: name, data: Array.from({ length: 100 }, (_, i) => ({ id: i, vector: vector(i), group: i % 2 })) }));
  const data = [{ anns_field: 'vector', data: vector(0), limit: 2 }, { anns_field: 'vector', data: vector(1), limit: 1 }];
  const ranked = ok(await client.hybridSearch({ collection_name: name, data, rerank: { strategy: 'rrf', params: { k: 1 } }, limit: 2, output_fields: ['id', 'group'] }));
  // 1 is second and first: 1/3 + 1/2; 0 is first: 1/2.
  assert.deepEqual(ranked.results.map((hit) => [Number(hit.id), Number(hit.group)]), [[1, 1], [0, 0]]);
  assert.ok(Math.abs(ranked.results[0].score - 5 / 6) < 1e-6 && Math.abs(ranked.results[1].score - 1 / 2) < 1e-6);
  const weighted = ok(await client.hybridSearch({ collection_name: name, data, rerank: { strategy: 'weighted', params: { weights: [1, 0.5], norm_score: true } }, limit: 1, output_fields: ['id'] }));
  assert.equal(Number(weighted.results[0].id), 0);
});

test('vectors of other kinds', async () => {
  const name = `node_${counter++}`;
  ok(await client.createCollection({ collection_name: name, fields: [
    { name: 'id', data_type: DataType.VarChar, max_length: 10, is_primary_key: true },
    { name: 'b', data_type: DataType.BinaryVector, dim: 16 }, { name: 's', data_type: DataType.SparseFloatVector },
    { name: 'h', data_type: DataType.Float16Vector, dim: 4 }] }));
  for (const [field_name, index_type, metric_type] of [['b', 'BIN_FLAT', 'HAMMING'], ['s', 'SPARSE_INVERTED_INDEX', 'IP'], ['h', 'FLAT', 'L2']]) {
    ok(await client.createIndex({ collection_name: name, field_name, index_type, metric_type }));
  }
  ok(await client.loadCollectionSync({ collection_name: name }));
  ok(await client.insert({ collection_name: name, data: [
    { id: 'x', b: [255, 0], s: { 3: 0.5, 70: 2 }, h: [1, 2, 3, 4] }, { id: 'y', b: [0, 255], s: { 3: 4 }, h: [0, 0, 0, 0] }] }));
  const first = async (anns_field, data) => ok(await client.search({ collection_name: name, anns_field, data, limit: 1, output_fields: ['id'] })).results[0].id;
  assert.equal(await first('b', [255, 1]), 'x');
  assert.equal(await first('s', { 3: 1 }), 'y');
  assert.equal(await first('h', [1, 2, 3, 3.5]), 'x');
});

test('partitions, aliases, databases, indexes', async () => {
  const name = await made();
  ok(await client.createPartition({ collection_name: name, partition_name: 'p' }));
  ok(await client.insert({ collection_name: name, partition_name: 'p', data: [{ id: 1, vector: vector(1) }] }));
  assert.equal((await client.hasPartition({ collection_name: name, partition_name: 'p' })).value, true);
  ok(await client.createAlias({ collection_name: name, alias: `${name}_alias` }));
  assert.equal(ok(await client.describeAlias({ alias: `${name}_alias`, collection_name: name })).collection, name);
  ok(await client.dropAlias({ alias: `${name}_alias` }));
  ok(await client.createDatabase({ db_name: 'node_db' }));
  assert.ok((await client.listDatabases()).db_names.includes('node_db'));
  ok(await client.dropDatabase({ db_name: 'node_db' }));
  assert.equal(ok(await client.describeIndex({ collection_name: name })).index_descriptions[0].field_name, 'vector');
  ok(await client.releaseCollection({ collection_name: name }));
  ok(await client.dropIndex({ collection_name: name, field_name: 'vector', index_name: 'vector' }));
  ok(await client.dropCollection({ collection_name: name }));
  assert.equal((await client.hasCollection({ collection_name: name })).value, false);
});

test('load state and progress', async () => {
  const name = await made();
  assert.equal(ok(await client.getLoadState({ collection_name: name })).state, 'LoadStateLoaded');
  assert.equal(Number(ok(await client.getLoadingProgress({ collection_name: name })).progress), 100);
  ok(await client.releaseCollection({ collection_name: name }));
  assert.equal(ok(await client.getLoadState({ collection_name: name })).state, 'LoadStateNotLoad');
});

test('iterators', async () => {
  const name = await made();
  ok(await client.insert({ collection_name: name, data: Array.from({ length: 500 }, (_, i) => ({ id: i, vector: vector(i) })) }));
  const iterator = await client.queryIterator({ collection_name: name, batchSize: 120, expr: 'id >= 0', output_fields: ['id'] });
  const seen = [];
  for await (const page of iterator) seen.push(...page.map((row) => Number(row.id)));
  assert.deepEqual(seen.sort((a, b) => a - b), Array.from({ length: 500 }, (_, i) => i));
});

describe('errors', () => {
  test('not found', () => refused(() => client.insert({ collection_name: 'never_created', data: [{ id: 1, vector: vector(1) }] }), 'never_created'));

  test('bad name', () => refused(() => client.createCollection({ collection_name: '1bad', fields: [
    { name: 'id', data_type: DataType.Int64, is_primary_key: true }, { name: 'vector', data_type: DataType.FloatVector, dim: 4 }] }),
  'the first character of a collection name must be an underscore or letter'));

  test('bad filter', async () => {
    const name = await made();
    await refused(() => client.query({ collection_name: name, filter: 'nothing > 1', limit: 1 }), 'field nothing not exist');
  });

  test('wrong dimension', async () => {
    const name = await made();
    await refused(() => client.insert({ collection_name: name, data: [{ id: 1, vector: [1, 2, 3] }] }), '');
    assert.equal(Number((await client.count({ collection_name: name })).data), 0);
  });

  test('not loaded', async () => {
    const name = await made();
    await client.releaseCollection({ collection_name: name });
    await refused(() => client.query({ collection_name: name, filter: 'id > 0', limit: 1 }), 'collection not loaded');
  });

  test('what is not served says so instead of an empty success', async () => {
    const reply = await client.createResourceGroup({ resource_group: 'rg' });
    assert.notEqual(reply.error_code, ErrorCode.SUCCESS);
    assert.notEqual(reply.error_code, undefined);
  });
});
