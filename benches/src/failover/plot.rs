//! The picture: the wait of each write over time, on a logarithmic axis, one panel a trouble.
//!
//! Owns: the SVG. Invariant: whatever was measured gives a picture that can be shown.

use std::fmt::Write as _;

use super::{
    figures::{election_timeout, Measured, GOAL},
    Trouble,
};

const WIDTH: f64 = 900.0;
const PANEL: f64 = 280.0;
/// The plotting area of a panel.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 230.0;
/// Seconds at the bottom of the axis, and decades above.
const LEAST: f64 = 1e-4;
const DECADES: f64 = 4.0;

fn y_of(seconds: f64) -> f64 {
    let up = (seconds.max(LEAST) / LEAST).log10().min(DECADES) / DECADES;
    BOTTOM - up * (BOTTOM - TOP)
}

/// One panel each.
pub(super) fn svg(panels: &[(Trouble, Measured)]) -> String {
    let mut text = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{}' font-family='sans-serif' font-size='12'>\
         <rect width='100%' height='100%' fill='white'/>",
        PANEL * panels.len() as f64
    );
    for (at, (trouble, measured)) in panels.iter().enumerate() {
        let _ = write!(text, "<g transform='translate(0 {})'>", PANEL * at as f64);
        panel(&mut text, *trouble, measured);
        text.push_str("</g>");
    }
    text + "</svg>\n"
}

fn panel(text: &mut String, trouble: Trouble, measured: &Measured) {
    let end = measured.waits.last().map_or(1.0, |(at, wait)| at + wait);
    let x_of = |at: f64| LEFT + at / end * (WIDTH - LEFT - RIGHT);
    let edge = WIDTH - RIGHT;
    let _ = write!(text, "<text x='{LEFT}' y='18' font-weight='bold'>{}: wait of each write</text>", trouble.name());
    for episode in &measured.episodes {
        let (from, to) = (x_of(episode.began), x_of(episode.ended));
        let height = BOTTOM - TOP;
        let _ = write!(
            text,
            "<rect x='{from:.1}' y='{TOP}' width='{:.1}' height='{height}' fill='#eef1f6'/>",
            (to - from).max(1.0)
        );
    }
    for (seconds, label) in [(1e-4, "0.1 ms"), (1e-3, "1 ms"), (1e-2, "10 ms"), (1e-1, "100 ms"), (1.0, "1 s")] {
        let y = y_of(seconds);
        let _ = write!(text, "<line x1='{LEFT}' x2='{edge}' y1='{y:.1}' y2='{y:.1}' stroke='#ddd'/>");
        let _ = write!(text, "<text x='{}' y='{:.1}' text-anchor='end'>{label}</text>", LEFT - 6.0, y + 4.0);
    }
    let (bound, label) = match trouble {
        Trouble::Killed => (GOAL, "the goal, 30 ms"),
        Trouble::Paused | Trouble::Cut => (election_timeout().1, "the longest election timeout"),
    };
    let y = y_of(bound.as_secs_f64());
    let _ = write!(text, "<line x1='{LEFT}' x2='{edge}' y1='{y:.1}' y2='{y:.1}' stroke='#c33' stroke-dasharray='4'/>");
    let _ = write!(text, "<text x='{edge}' y='18' fill='#c33' text-anchor='end'>dashed: {label}</text>");
    for (at, wait) in &measured.waits {
        let _ = write!(text, "<circle cx='{:.1}' cy='{:.1}' r='1' fill='#247'/>", x_of(*at), y_of(*wait));
    }
    for episode in &measured.episodes {
        let longest = measured.after(episode.began);
        let (x, y) = (x_of(episode.began), y_of(longest));
        let _ = write!(text, "<circle cx='{x:.1}' cy='{y:.1}' r='3.5' fill='none' stroke='#c33'/>");
        let _ = write!(text, "<text x='{:.1}' y='{:.1}'>{:.0}</text>", x + 5.0, y - 5.0, longest * 1e3);
    }
    seconds(text, end, x_of);
}

/// The axis of time, with at most a dozen marks.
fn seconds(text: &mut String, end: f64, x_of: impl Fn(f64) -> f64) {
    let usual = [0.5, 1.0, 2.0, 5.0, 10.0, 30.0].into_iter().find(|step| end / step <= 12.0);
    let step = usual.unwrap_or((end / 12.0).ceil());
    let mut at = 0.0;
    while at <= end {
        let _ = write!(text, "<text x='{:.1}' y='{}' text-anchor='middle'>{at} s</text>", x_of(at), BOTTOM + 18.0);
        at += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::figures::Episode;

    #[test]
    fn whatever_was_measured_stays_within_its_panel() {
        let episodes = vec![Episode { began: 0.0, ended: 0.0 }];
        let measured = Measured { waits: vec![(0.0, 0.0), (1.0, 1e9)], episodes };
        let empty = Measured { waits: Vec::new(), episodes: Vec::new() };
        let text = svg(&[(Trouble::Killed, measured), (Trouble::Cut, empty)]);
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
        let heights = text.split("cy='").skip(1).filter_map(|rest| rest.split('\'').next()?.parse::<f64>().ok());
        assert!(heights.into_iter().all(|y| (TOP..=BOTTOM).contains(&y)), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
