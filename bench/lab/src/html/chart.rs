//! Line charts as SVG. Colours come from the page's style sheet, so they follow light and dark.
use super::escape;
use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    Linear,
    Log,
}
#[derive(Clone, Debug)]
pub struct Axis {
    pub label: String,
    pub scale: Scale,
    /// Places with a text; empty: chosen.
    pub ticks: Vec<(f64, String)>,
}
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub dashed: bool,
}
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 48.0;
/// Classes `.c0` to `.c7` of the style sheet.
pub const COLOURS: usize = 8;

/// From values to places on the paper.
struct Ruler {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}
impl Ruler {
    fn place(&self, value: f64) -> f64 {
        let of = |v: f64| if self.scale == Scale::Log { v.max(1e-12).log10() } else { v };
        let (low, high) = (of(self.low), of(self.high));
        let share = if high > low { (of(value) - low) / (high - low) } else { 0.5 };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }
}

impl Chart {
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|s| &s.points);
        let (x, y) = (
            ruler(&self.x, points().map(|p| p.0), (LEFT, WIDTH - RIGHT)),
            ruler(&self.y, points().map(|p| p.1), (HEIGHT - BOTTOM, TOP)),
        );
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.title)
        );
        self.grid(&mut out, &x, &y);
        for (n, series) in self.series.iter().enumerate() {
            line(&mut out, n % COLOURS, series, &x, &y);
        }
        out += "</svg>\n";
        self.legend(&mut out);
        format!("<figure><figcaption>{}</figcaption>\n{out}</figure>\n", escape(&self.title))
    }
    fn grid(&self, out: &mut String, x: &Ruler, y: &Ruler) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, text) in ticks(&self.y, y) {
            let at = y.place(value);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                escape(&text)
            );
        }
        for (value, text) in ticks(&self.x, x) {
            let at = x.place(value);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                escape(&text)
            );
        }
        let middle = (TOP + bottom) / 2.0;
        let _ = writeln!(
            out,
            "<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text class=\"axis\" transform=\"translate(14 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 8.0,
            escape(&self.x.label),
            escape(&self.y.label)
        );
    }
    fn legend(&self, out: &mut String) {
        *out += "<ul class=\"legend\">";
        for (n, series) in self.series.iter().enumerate() {
            let dashed = if series.dashed { " dashed" } else { "" };
            let _ = write!(
                out,
                "<li><svg viewBox=\"0 0 24 8\"><line class=\"c{}{dashed}\" x1=\"0\" y1=\"4\" x2=\"24\" y2=\"4\"/></svg>{}</li>",
                n % COLOURS,
                escape(&series.name)
            );
        }
        *out += "</ul>\n";
    }
}

fn line(out: &mut String, colour: usize, series: &Series, x: &Ruler, y: &Ruler) {
    let dashed = if series.dashed { " dashed" } else { "" };
    let points = || series.points.iter().filter(|(a, b)| a.is_finite() && b.is_finite());
    let path: Vec<String> = points().map(|(a, b)| format!("{:.1},{:.1}", x.place(*a), y.place(*b))).collect();
    let _ = writeln!(out, "<polyline class=\"c{colour}{dashed}\" points=\"{}\"/>", path.join(" "));
    // Many points are a curve; few are measurements that one wants to read.
    if series.points.len() > 16 {
        return;
    }
    for (a, b) in points() {
        let _ = writeln!(
            out,
            "<circle class=\"c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}: {} at {}</title></circle>",
            x.place(*a),
            y.place(*b),
            escape(&series.name),
            short(*b),
            short(*a)
        );
    }
}

fn ruler(axis: &Axis, values: impl Iterator<Item = f64>, (from, to): (f64, f64)) -> Ruler {
    let marked = axis.ticks.iter().map(|t| t.0);
    let values: Vec<f64> = values.chain(marked).filter(|v| v.is_finite()).collect();
    let positive = values.iter().copied().filter(|v| *v > 0.0).reduce(f64::min).unwrap_or(1.0);
    let max = values.iter().copied().reduce(f64::max).unwrap_or(1.0).max(positive);
    let min = values.iter().copied().reduce(f64::min).unwrap_or(0.0);
    let (low, high) = match axis.scale {
        Scale::Log if axis.ticks.is_empty() => {
            (10f64.powf(positive.log10().floor()), 10f64.powf(max.log10().ceil()))
        }
        Scale::Log => (positive, max),
        // Rates and shares begin at nothing: a cut axis makes noise look like news.
        Scale::Linear if axis.ticks.is_empty() => (0.0, nice(max / 5.0) * (max / nice(max / 5.0)).ceil()),
        Scale::Linear => (min, max),
    };
    Ruler { scale: axis.scale, low, high, from, to }
}
/// 1, 2 or 5 times a power of ten, not below `step`.
fn nice(step: f64) -> f64 {
    if step <= 0.0 || !step.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    let digit = step / power;
    power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|d| digit <= *d + 1e-9).unwrap_or(10.0)
}
fn ticks(axis: &Axis, ruler: &Ruler) -> Vec<(f64, String)> {
    if !axis.ticks.is_empty() {
        return axis.ticks.clone();
    }
    match axis.scale {
        Scale::Linear => {
            let step = nice(ruler.high / 5.0);
            let count = (ruler.high / step).round() as u32;
            (0..=count).map(|n| f64::from(n) * step).map(|v| (v, short(v))).collect()
        }
        Scale::Log => {
            let (low, high) = (ruler.low.log10().round() as i32, ruler.high.log10().round() as i32);
            (low..=high).map(|e| 10f64.powi(e)).map(|v| (v, short(v))).collect()
        }
    }
}
/// As few digits as say it.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{}M", trim(value / 1e6)),
        v if v >= 1e4 => format!("{}k", trim(value / 1e3)),
        _ => trim(value),
    }
}
fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_that_cover_the_data() {
        let axis = Axis { label: "Mpps".into(), scale: Scale::Linear, ticks: Vec::new() };
        let ruler = ruler(&axis, [0.3, 1.73].into_iter(), (0.0, 100.0));
        let texts: Vec<_> = ticks(&axis, &ruler).into_iter().map(|t| t.1).collect();
        assert_eq!(texts, ["0", "0.5", "1", "1.5", "2"]);
        assert_eq!((ruler.place(0.0), ruler.place(2.0), ruler.place(1.0)), (0.0, 100.0, 50.0));
    }
    #[test]
    fn decades_of_a_logarithmic_axis() {
        let axis = Axis { label: "µs".into(), scale: Scale::Log, ticks: Vec::new() };
        let ruler = ruler(&axis, [3.0, 450.0].into_iter(), (0.0, 90.0));
        let texts: Vec<_> = ticks(&axis, &ruler).into_iter().map(|t| t.1).collect();
        assert_eq!(texts, ["1", "10", "100", "1000"]);
        assert!((ruler.place(10.0) - 30.0).abs() < 1e-9);
        assert_eq!(short(100_000.0), "100k");
    }
    #[test]
    fn names_cannot_break_out() {
        let axis = Axis { label: "<x>".into(), scale: Scale::Linear, ticks: Vec::new() };
        let series =
            Series { name: "a\"<b>&".into(), points: vec![(0.0, 0.0), (f64::NAN, 1.0)], dashed: true };
        let svg = Chart { title: "t".into(), x: axis.clone(), y: axis, series: vec![series] }.svg();
        assert!(
            svg.contains("a&quot;&lt;b&gt;&amp;") && !svg.contains("<b>") && !svg.contains("NaN"),
            "{svg}"
        );
    }
}
