// Filtered searches by usearch, whose Python form has no predicate. Started by bench/run_filtered.py.
//
//   usearch_filtered INDEX QUERIES.fbin DIM K     reads commands from standard input:
//     filter FILE          masks and answers as filtered_bench writes them (bench/filtered_bench.cc)
//     search EF COUNT      searches the first COUNT queries under the filter
// Each command answers one line of JSON: CPU seconds and the rows of each query.
use std::io::{BufRead, Read, Write};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

fn cpu_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that lives here.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn bytes_of(path: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(path).map_err(|error| format!("{path}: {error}"))?;
    file.read_to_end(&mut bytes).map_err(|error| format!("{path}: {error}"))?;
    Ok(bytes)
}

struct Masks {
    words: Vec<u64>,
    words_per_mask: usize,
    masks: usize,
}

impl Masks {
    fn read(path: &str) -> Result<Masks, String> {
        let bytes = bytes_of(path)?;
        let word = |i: usize| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().unwrap());
        if bytes.len() < 24 {
            return Err(format!("{path} is cut short"));
        }
        let (words_per_mask, masks) = (word(0) as usize, word(1) as usize);
        if bytes.len() < 24 + 8 * words_per_mask * masks {
            return Err(format!("{path} is cut short"));
        }
        Ok(Masks { words: (3..3 + words_per_mask * masks).map(word).collect(), words_per_mask, masks })
    }

    fn of(&self, query: usize) -> &[u64] {
        let first = if self.masks > 1 { query * self.words_per_mask } else { 0 };
        &self.words[first..first + self.words_per_mask]
    }
}

fn search(index: &Index, queries: &[f32], dim: usize, k: usize, masks: &Masks, ef: usize, count: usize) -> Result<String, String> {
    index.change_expansion_search(ef);
    let mut found = Vec::with_capacity(count);
    let begin = cpu_seconds();
    for (number, query) in queries.chunks(dim).take(count).enumerate() {
        let mask = masks.of(number);
        let matches = index
            .filtered_search(query, k, |row: u64| mask[(row >> 6) as usize] >> (row & 63) & 1 == 1)
            .map_err(|error| error.to_string())?;
        found.push(matches.keys);
    }
    Ok(format!("{{\"cpu_s\":{:.6},\"rows\":{:?}}}", cpu_seconds() - begin, found))
}

fn run() -> Result<(), String> {
    let args: Vec<String> = std::env::args().collect();
    if args.len() != 5 {
        return Err("usage: usearch_filtered INDEX QUERIES DIM K".to_string());
    }
    let (dim, k): (usize, usize) = (args[3].parse().map_err(|_| "DIM")?, args[4].parse().map_err(|_| "K")?);
    let options = IndexOptions {
        dimensions: dim,
        metric: MetricKind::IP,
        quantization: ScalarKind::F32,
        connectivity: 16,
        expansion_add: 200,
        ..Default::default()
    };
    let index = Index::new(&options).map_err(|error| error.to_string())?;
    index.load(&args[1]).map_err(|error| error.to_string())?;
    let queries: Vec<f32> =
        bytes_of(&args[2])?[8..].chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect();
    let mut masks = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["filter", path] => Masks::read(path).map(|read| {
                masks = Some(read);
                "{\"ok\":true}".to_string()
            }),
            ["search", ef, count] => match (&masks, ef.parse(), count.parse()) {
                (Some(masks), Ok(ef), Ok(count)) => search(&index, &queries, dim, k, masks, ef, count),
                _ => Err("no filter, or no number".to_string()),
            },
            _ => Err("unknown command".to_string()),
        };
        println!("{}", answer.unwrap_or_else(|error| format!("{{\"error\":{error:?}}}")));
        std::io::stdout().flush().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
