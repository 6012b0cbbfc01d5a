//! What is going on, while it goes on: a line that changes on a terminal, lines one after the other elsewhere.
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    start: Instant,
}
impl Progress {
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            // A constant that parses.
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {elapsed_precise} {prefix:.bold} {msg}")
            {
                bar.set_style(style);
            }
            // Drawn by a thread of its own a few times a second: nothing the trial's loop would notice.
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self { bar, quiet, start: Instant::now() }
    }
    /// A new part of the run.
    pub fn part(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_prefix(text.to_owned()),
            None => self.line(text),
        }
    }
    /// The latest within the part.
    pub fn step(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.line(&format!("  {text}")),
        }
    }
    /// Stays on the screen.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => self.line(text),
        }
    }
    fn line(&self, text: &str) {
        if !self.quiet {
            eprintln!("[{:7.1}s] {text}", self.start.elapsed().as_secs_f64());
        }
    }
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
