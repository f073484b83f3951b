//! Plots as SVG: lines over two axes, readable on a light and on a dark page. Pure.

use std::fmt::Write as _;

use crate::result::{Axis, Curve, figure};

/// Size of the picture, and of what is around the plot in it.
const SIZE: (f64, f64) = (720.0, 400.0);
const LEFT: f64 = 90.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 70.0;
/// How far apart the names of two lines are at least, so that both can be read.
const LABEL: f64 = 14.0;
/// The most characters of one line of a note, and how far apart its lines are.
const NOTE_CHARS: usize = 100;
const NOTE_LINE: f64 = 15.0;

/// A colour and a dash pattern for each line, so that they are told apart without colours too.
const STYLES: [(&str, &str); 6] = [
    ("#2166ac", "none"),
    ("#b2182b", "8 3"),
    ("#1b7837", "2 3"),
    ("#762a83", "8 3 2 3"),
    ("#b35806", "4 4"),
    ("#525252", "12 4"),
];

/// The picture of a curve.
pub(crate) fn svg(curve: &Curve) -> String {
    let points = || curve.lines.iter().flat_map(|line| &line.points);
    let x = Scale::new(
        &curve.x,
        points().map(|point| point.0),
        LEFT,
        SIZE.0 - RIGHT,
    );
    let y = Scale::new(
        &curve.y,
        points().map(|point| point.1),
        SIZE.1 - BOTTOM,
        TOP,
    );
    let mut picture = Picture(String::new());
    picture.open(curve);
    for tick in x.ticks() {
        let at = x.at(tick);
        picture.grid((at, TOP), (at, SIZE.1 - BOTTOM));
        picture.text((at, SIZE.1 - BOTTOM + 18.0), "middle", 12, &short(tick));
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        picture.grid((LEFT, at), (SIZE.0 - RIGHT, at));
        picture.text((LEFT - 8.0, at + 4.0), "end", 12, &short(tick));
    }
    let middle = f64::midpoint(LEFT, SIZE.0 - RIGHT);
    picture.text((middle, 24.0), "middle", 15, &curve.title);
    picture.text(
        (middle, SIZE.1 - BOTTOM + 38.0),
        "middle",
        13,
        &curve.x.label,
    );
    for (line, y) in note_lines(&curve.note) {
        picture.text((middle, y), "middle", 11, &line);
    }
    picture.text((8.0, TOP - 10.0), "start", 13, &curve.y.label);
    let mut labels = Vec::new();
    for (line, (colour, dash)) in curve.lines.iter().zip(STYLES.iter().cycle()) {
        let places: Vec<(f64, f64)> = line
            .points
            .iter()
            .filter(|point| x.shows(point.0) && y.shows(point.1))
            .map(|point| (x.at(point.0), y.at(point.1)))
            .collect();
        picture.line(&places, colour, dash);
        if let Some(last) = places.last() {
            labels.push(((last.0 + 8.0, last.1 + 4.0), *colour, line.name.as_str()));
        }
    }
    labels.sort_by(|one, other| one.0.1.total_cmp(&other.0.1));
    let mut free = 0.0_f64;
    for ((x, y), colour, name) in labels {
        let y = y.max(free);
        picture.coloured((x, y), colour, name);
        free = y + LABEL;
    }
    picture.0.push_str("</svg>\n");
    picture.0
}

/// The lines of a note, broken between words, and where each stands. The picture grows with them.
fn note_lines(note: &str) -> Vec<(String, f64)> {
    let mut lines: Vec<String> = Vec::new();
    for word in note.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= NOTE_CHARS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let places = (0..).map(|line| SIZE.1 - 10.0 + f64::from(line) * NOTE_LINE);
    lines.into_iter().zip(places).collect()
}

/// Where values are on an axis.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    /// An axis that shows all of `values` between two places of the picture.
    fn new(axis: &Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logarithmic = axis.logarithmic;
        let usable = |value: &f64| value.is_finite() && (!logarithmic || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(usable) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        if logarithmic {
            low = 10_f64.powf(low.log10().floor());
            high = 10_f64.powf(high.log10().ceil()).max(low * 10.0);
        } else {
            low = low.min(0.0);
            let step = step(high - low);
            high = (high / step).ceil() * step;
        }
        Self {
            low,
            high,
            from,
            to,
            logarithmic,
        }
    }

    fn shows(&self, value: f64) -> bool {
        value.is_finite() && (self.low..=self.high).contains(&value)
    }

    fn at(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = step(self.high - self.low);
        let mut ticks = vec![self.low];
        while let Some(last) = ticks.last().copied() {
            let next = if self.logarithmic {
                last * 10.0
            } else {
                last + step
            };
            // A sum of steps may miss the end by the last of its digits.
            if next > self.high * 1.000_001 || ticks.len() > 20 {
                break;
            }
            ticks.push(next);
        }
        ticks
    }
}

/// A round step that divides a span into three to eight.
fn step(span: f64) -> f64 {
    if span <= 0.0 || !span.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf((span / 3.0).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    let wide = |step: &&f64| span / **step >= 3.0 - 1e-9;
    steps.iter().rfind(wide).copied().unwrap_or(power)
}

/// A value at an axis.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        size if size >= 1e4 => format!("{} k", trimmed(value / 1e3)),
        size if size >= 1e3 => figure(value),
        _ => trimmed(value),
    }
}

/// A number without zeros at its end.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

/// The text of the picture so far.
struct Picture(String);

impl Picture {
    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }

    fn open(&mut self, curve: &Curve) {
        let (width, height) = SIZE;
        let lines = note_lines(&curve.note).len();
        let height = height + lines.saturating_sub(1) as f64 * NOTE_LINE;
        let title = escaped(&curve.title);
        self.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" role=\"img\" aria-label=\"{title}\">\n\
             <title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        ));
    }

    fn grid(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.add(format_args!(
            "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#d0d0d0\"/>\n",
            from.0, from.1, to.0, to.1
        ));
    }

    fn text(&mut self, at: (f64, f64), anchor: &str, size: u32, text: &str) {
        self.add(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{}</text>\n",
            at.0,
            at.1,
            escaped(text)
        ));
    }

    fn coloured(&mut self, at: (f64, f64), colour: &str, text: &str) {
        self.add(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" fill=\"{colour}\">{}</text>\n",
            at.0,
            at.1,
            escaped(text)
        ));
    }

    fn line(&mut self, places: &[(f64, f64)], colour: &str, dash: &str) {
        let mut points = String::new();
        for (x, y) in places {
            let _ = write!(points, "{x:.1},{y:.1} ");
            self.add(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"
            ));
        }
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dash}\"/>\n",
            points.trim_end()
        ));
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Line;

    fn axis(logarithmic: bool) -> Axis {
        Axis {
            label: "messages & <more>".into(),
            logarithmic,
        }
    }

    fn curve(points: Vec<(f64, f64)>, logarithmic: bool) -> Curve {
        Curve {
            name: "x".into(),
            title: "Latency".into(),
            x: axis(false),
            y: axis(logarithmic),
            lines: vec![Line {
                name: "p99".into(),
                points,
            }],
            note: "a note".into(),
        }
    }

    #[test]
    fn points_are_where_their_values_are() {
        let picture = svg(&curve(vec![(0.0, 0.0), (5.0, 30.0), (10.0, 60.0)], false));
        // From the lower left to the upper right corner of the plot, through its middle.
        let line = "points=\"90.0,330.0 340.0,187.0 590.0,44.0\"";
        assert!(picture.contains(line), "{picture}");
        assert_eq!(picture.matches("<circle").count(), 3);
        assert!(picture.contains(">p99</text>") && picture.contains(">a note</text>"));
    }

    #[test]
    fn a_long_note_is_broken_and_the_picture_grows() {
        let long = Curve {
            note: "words ".repeat(30).trim().to_owned(),
            ..curve(vec![(0.0, 1.0)], false)
        };
        let lines = note_lines(&long.note);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|(line, _)| line.len() <= NOTE_CHARS));
        let picture = svg(&long);
        assert!(picture.contains("viewBox=\"0 0 720 415\""), "{picture}");
    }

    #[test]
    fn a_factor_is_the_same_way_everywhere_on_a_logarithmic_axis() {
        let picture = svg(&curve(
            vec![(0.0, 10.0), (5.0, 100.0), (10.0, 1_000.0)],
            true,
        ));
        let line = "points=\"90.0,330.0 340.0,187.0 590.0,44.0\"";
        assert!(picture.contains(line), "{picture}");
        assert!(picture.contains(">1,000</text>"), "{picture}");
    }

    #[test]
    fn names_of_lines_that_end_together_stand_below_each_other() {
        let mut curve = curve(vec![(0.0, 0.0), (10.0, 60.0)], false);
        curve.lines.push(Line {
            name: "p50".into(),
            points: vec![(0.0, 0.0), (10.0, 59.0)],
        });
        let picture = svg(&curve);
        assert!(
            picture.contains("y=\"48.0\" font-size=\"12\" fill=\"#2166ac\">p99<"),
            "{picture}"
        );
        assert!(
            picture.contains("y=\"62.0\" font-size=\"12\" fill=\"#b2182b\">p50<"),
            "{picture}"
        );
    }

    #[test]
    fn text_is_escaped_and_every_element_is_closed() {
        let picture = svg(&curve(vec![(1.0, 2.0)], false));
        assert!(picture.contains("messages &amp; &lt;more&gt;"), "{picture}");
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        for line in picture.lines().skip(1) {
            let closed = line.ends_with("/>") || line.contains("</");
            assert!(closed, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_shown_is_left_out() {
        let picture = svg(&curve(vec![(1.0, 0.0), (2.0, f64::NAN), (3.0, 5.0)], true));
        assert_eq!(picture.matches("<circle").count(), 1, "{picture}");
        assert!(
            !picture.contains("NaN") && !picture.contains("inf"),
            "{picture}"
        );
        let empty = svg(&curve(Vec::new(), true));
        assert!(!empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }

    #[test]
    fn ticks_are_round_few_and_within_the_axis() {
        for high in [0.3, 1.0, 7.0, 99.0, 1_234.0, 2_600_000.0] {
            let scale = Scale::new(&axis(false), [0.0, high].into_iter(), 0.0, 1.0);
            let ticks = scale.ticks();
            assert!((3..=10).contains(&ticks.len()), "{high}: {ticks:?}");
            assert!(scale.high >= high && scale.high <= high * 1.7, "{high}");
        }
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (1_500.0, "1,500"),
            (20_000.0, "20 k"),
            (1.5e6, "1.5 M"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
