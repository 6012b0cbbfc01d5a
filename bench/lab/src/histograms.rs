//! Latency histograms for other tools: HdrHistogram's V2 interval log, and its percentile text.
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Steps of the percentile curve in each halving of what is left.
const STEPS: u32 = 5;
/// Histograms count nanoseconds, files and tables show microseconds.
const UNIT: f64 = 1e3;

/// Writes into a folder: `latency.hlog` with all, and a `.hgrm` for each.
pub struct Recorder {
    dir: PathBuf,
    start: SystemTime,
    all: Vec<(String, Duration, Histogram<u64>)>,
}
impl Recorder {
    pub fn new(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), start: SystemTime::now(), all: Vec::new() })
    }
    /// The files it is in.
    pub fn record(&mut self, name: &str, histogram: &Histogram<u64>) -> Result<Vec<String>> {
        let at = self.start.elapsed().unwrap_or_default();
        // A tag ends at a comma or white space.
        let word: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || ".=-".contains(c) { c } else { '_' })
            .collect();
        let text = self.dir.join(format!("{word}.hgrm"));
        std::fs::write(&text, hgrm(histogram)).with_context(|| format!("writing {}", text.display()))?;
        self.all.push((word, at, histogram.clone()));
        let log = self.dir.join("latency.hlog");
        std::fs::write(&log, self.log()?).with_context(|| format!("writing {}", log.display()))?;
        Ok(vec![text.display().to_string(), log.display().to_string()])
    }
    fn log(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut builder = IntervalLogWriterBuilder::new();
        builder
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("espway lab, latency; values in nanoseconds, the column of maxima in microseconds")
            .with_start_time(self.start)
            .with_max_value_divisor(UNIT);
        let mut log = builder.begin_log_with(&mut bytes, &mut serializer)?;
        for (name, at, histogram) in &self.all {
            let tag = Tag::new(name).context("a tag without separators")?;
            log.write_histogram(histogram, *at, Duration::ZERO, Some(tag))
                .map_err(|error| anyhow::anyhow!("writing the histogram of {name}: {error:?}"))?;
        }
        Ok(bytes)
    }
}

/// What `HistogramLogProcessor` prints and plotting pages read.
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for step in histogram.iter_quantiles(STEPS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / UNIT, step.quantile_iterated_to());
        // Writing to a text does not fail.
        let _ = match quantile < 1.0 {
            true => {
                writeln!(text, "{value:>12.3} {quantile:>14.12} {total:>10} {:>14.2}", 1.0 / (1.0 - quantile))
            }
            false => writeln!(text, "{value:>12.3} {quantile:>14.12} {total:>10}"),
        };
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]\n\
         #[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.mean() / UNIT,
        histogram.stdev() / UNIT,
        histogram.max() as f64 / UNIT,
        histogram.len(),
        histogram.buckets(),
        2048
    );
    text
}

/// Quantile and nanoseconds, as many points as a plot needs.
pub fn curve(histogram: &Histogram<u64>) -> Vec<[f64; 2]> {
    let points =
        histogram.iter_quantiles(3).map(|s| [s.quantile_iterated_to(), s.value_iterated_to() as f64]);
    // The last quantile that many packets can resolve; behind it there is the maximum only.
    points.filter(|[quantile, _]| *quantile < 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn sample() -> Histogram<u64> {
        let mut histogram = crate::ledger::histogram();
        for n in 1..=10_000u64 {
            histogram.record(n * 100).expect("in range");
        }
        histogram
    }
    #[test]
    fn the_log_is_read_back_by_the_format_s_own_reader() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut recorder = Recorder::new(dir.path()).expect("a recorder");
        recorder.record("latency load=10% size=64", &sample()).expect("written");
        recorder.record("latency load=90% size=64", &sample()).expect("written");
        let bytes = std::fs::read(dir.path().join("latency.hlog")).expect("the log");
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            if let LogEntry::Interval(interval) = entry.expect("it parses") {
                let raw = base64_of_the_log(interval.encoded_histogram());
                let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &raw[..]).expect("V2");
                found.push((interval.tag().map(|t| t.as_str().to_owned()), histogram));
            }
        }
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0.as_deref(), Some("latency_load=10__size=64"));
        assert!(found.iter().all(|(_, histogram)| *histogram == sample()));
    }
    /// Base64 without the crate: the log's alphabet is the standard one.
    fn base64_of_the_log(text: &str) -> Vec<u8> {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits: Vec<u32> = text
            .bytes()
            .filter(|b| *b != b'=')
            .map(|b| ALPHABET.iter().position(|a| *a == b).expect("base64") as u32)
            .collect();
        let whole = |four: &[u32]| {
            let bits = four.iter().enumerate().fold(0, |bits, (at, d)| bits | d << (18 - 6 * at));
            bits.to_be_bytes()[1..four.len()].to_vec()
        };
        digits.chunks(4).flat_map(whole).collect()
    }
    #[test]
    fn the_text_has_rising_rows_up_to_the_maximum() {
        let text = hgrm(&sample());
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|l| !l.starts_with('#'))
            .map(|l| l.split_whitespace().map(|n| n.parse().expect("a number")).collect())
            .collect();
        assert!(rows.len() > 20);
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] < b[1] && a[2] <= b[2]));
        let last = rows.last().expect("rows");
        assert_eq!((last[1], last[2]), (1.0, 10_000.0));
        assert!((last[0] - 1000.0).abs() < 1.0, "{last:?}");
        let median = rows.iter().find(|r| r[1] >= 0.5).expect("a median");
        assert!((median[0] - 500.0).abs() < 1.0 && (median[3] - 2.0).abs() < 0.01, "{median:?}");
    }
}
