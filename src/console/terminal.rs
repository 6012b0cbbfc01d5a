//! Standard output: colours and width of a terminal, and a stop after each page of it.
use super::session::Out;
use super::style::Style;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{IsTerminal, Read, Write, stdin, stdout};
use zeroize::Zeroizing;

pub struct Terminal {
    style: Style,
    is_terminal: bool,
    /// Pages, and questions.
    interactive: bool,
}
impl Terminal {
    pub fn new(interactive: bool) -> Self {
        let is_terminal = stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let style = Style { width: None, colours: is_terminal && !plain && !dumb };
        Self { style, is_terminal, interactive: interactive && is_terminal && stdin().is_terminal() }
    }
    fn size(&self) -> Option<(usize, usize)> {
        let size = tcgetwinsize(stdout()).ok().filter(|size| size.ws_col > 0)?;
        Some((usize::from(size.ws_col), usize::from(size.ws_row)))
    }
    fn page(&self, text: &str, width: usize, height: usize) {
        let mut lines = text.split_inclusive('\n').peekable();
        let mut room = height.saturating_sub(1).max(1);
        while let Some(line) = lines.next() {
            put(line);
            // A line that is too long takes several of the terminal's.
            room = room.saturating_sub(super::cell::width(line.trim_end()).div_ceil(width).max(1));
            if room > 0 || lines.peek().is_none() {
                continue;
            }
            put("-- [Q quit|D dump|down]");
            let key = key();
            put("\r\x1b[K");
            match key {
                Some(b'q' | b'Q' | 3 | 4 | 27) | None => return,
                Some(b'd' | b'D') => room = usize::MAX,
                Some(b'\r' | b'\n') => room = 1,
                Some(_) => room = height.saturating_sub(1).max(1),
            }
        }
    }
}
impl Out for Terminal {
    fn show(&mut self, text: &str, paged: bool) {
        match self.size() {
            Some((width, height)) if self.interactive && paged => self.page(text, width, height),
            _ => put(text),
        }
    }
    fn style(&self) -> Style {
        let asked =
            std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|width| *width >= 20);
        let width = if self.is_terminal { self.size().map(|(width, _)| width).or(Some(80)) } else { asked };
        Style { width, ..self.style }
    }
    fn clear(&mut self) {
        if self.is_terminal {
            put("\x1b[H\x1b[2J");
        }
    }
    fn asks(&self) -> bool {
        self.interactive
    }
    fn secret(&mut self, what: &str) -> Option<Zeroizing<String>> {
        if self.interactive { crate::import::ask(what).ok() } else { None }
    }
}

fn put(text: &str) {
    let mut out = stdout().lock();
    // Whoever stops reading (`| head`) has seen enough.
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
/// One key, as it is pressed and without showing it.
pub fn key() -> Option<u8> {
    let before = tcgetattr(stdin()).ok()?;
    let mut raw = before.clone();
    raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
    (raw.special_codes[SpecialCodeIndex::VMIN], raw.special_codes[SpecialCodeIndex::VTIME]) = (1, 0);
    tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
    let mut bytes = [0; 16];
    let read = stdin().lock().read(&mut bytes);
    // Nothing is left to do when even this fails.
    let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    read.ok().filter(|n| *n > 0).map(|_| bytes[0])
}
