//! Draws what the adaptation does on a simulated link: what the link carries, what it is thought to carry, what arrives, the queue, and
//! the rung.
//!
//! `cargo bench -p housecall-sfu --bench adapt -- --trace cut-400 --svg cut-400.svg`; without `--trace`, all links there are and how
//! much faster than real time they ran. `--seed N` for another run of the same link. `--beside` puts other estimators on some of the links
//! and prints the medians of `--seeds N` runs.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

mod beside;

use std::fmt::Write as _;
use std::time::Instant;

use housecall_sfu::benching::{Drawn, TRACES, draw};

const WIDTH: f32 = 1_000.0;
const LEFT: f32 = 60.0;
const RATES: (f32, f32) = (20.0, 320.0);
const QUEUE: (f32, f32) = (350.0, 450.0);
const MOST_KBPS: f32 = 3_500.0;
const MOST_QUEUE: f32 = 400.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let seed = value("--seed").map_or(1, |text| text.parse().expect("--seed is a number"));
    if arguments.iter().any(|argument| argument == "--beside") {
        let seeds = value("--seeds").map_or(5, |text| text.parse().expect("--seeds is a number"));
        beside::print(seeds, now());
        return;
    }
    let wanted = value("--trace");
    for (name, what) in TRACES {
        if wanted.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let began = now();
        let drawn = draw(name, seed, began).expect("a link of the list");
        let took = now().duration_since(began);
        let times = drawn.length_ms as f64 / 1_000.0 / took.as_secs_f64();
        let (lost, gap) = drawn.audio;
        println!(
            "{name}: {what}: {times:.0} times real time, audio lost {:.2} %, longest gap {gap:.0} ms",
            100.0 * lost
        );
        if wanted.is_some() {
            print!("{}", drawn.story);
            if let Some(path) = value("--svg") {
                std::fs::write(&path, svg(name, what, &drawn)).expect("the picture is written");
            }
        }
    }
    assert!(
        wanted.is_none_or(|wanted| TRACES.iter().any(|(name, _)| *name == wanted)),
        "no such link; without --trace all are listed"
    );
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is a driver: it measures time")]
fn now() -> Instant {
    Instant::now()
}

fn svg(name: &str, what: &str, drawn: &Drawn) -> String {
    let seconds = drawn.length_ms as f32 / 1_000.0;
    let x = |place: usize| LEFT + place as f32 / 10.0 / seconds * (WIDTH - LEFT - 20.0);
    let y = |(top, bottom): (f32, f32), share: f32| bottom - share.clamp(0.0, 1.0) * (bottom - top);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} 500\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{name}: {what}</title>\n<rect width=\"{WIDTH}\" height=\"500\" fill=\"#fff\"/>\n"
    );
    // The rung, as the ground.
    let mut from = 0;
    for place in 1..=drawn.rung.len() {
        if place < drawn.rung.len() && drawn.rung[place] == drawn.rung[from] {
            continue;
        }
        let (colour, words) = match drawn.rung[from] {
            0 => ("#f6d5cf", "no picture"),
            1 => ("#fbf0cd", "480p"),
            _ => ("#dcefdf", "720p"),
        };
        let (left, right) = (x(from), x(place));
        let _ = writeln!(
            text,
            "<rect x=\"{left:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            RATES.0,
            right - left,
            QUEUE.1 - RATES.0
        );
        if right - left > 40.0 {
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"36\" fill=\"#555\">{words}</text>",
                left + 4.0
            );
        }
        from = place;
    }
    let mut axis = |span, most: f32, step: f32, unit: &str| {
        let mut value = 0.0;
        while value <= most {
            let at = y(span, value / most);
            let _ = writeln!(
                text,
                "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#0002\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#333\">{value:.0}</text>",
                WIDTH - 20.0,
                LEFT - 6.0,
                at + 4.0
            );
            value += step;
        }
        let _ = writeln!(
            text,
            "<text x=\"6\" y=\"{:.0}\" fill=\"#333\">{unit}</text>",
            span.0 - 6.0
        );
    };
    axis(RATES, MOST_KBPS, 500.0, "kbit/s");
    axis(QUEUE, MOST_QUEUE, 100.0, "queue, ms");
    let mut line = |values: &[f32], span, most: f32, style: &str| {
        let points: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(place, value)| format!("{:.1},{:.1}", x(place), y(span, value / most)))
            .collect();
        let _ = writeln!(
            text,
            "<polyline fill=\"none\" {style} points=\"{}\"/>",
            points.join(" ")
        );
    };
    line(
        &drawn.pictures,
        RATES,
        MOST_KBPS,
        "stroke=\"#2a9d62\" stroke-width=\"1\"",
    );
    line(
        &drawn.capacity,
        RATES,
        MOST_KBPS,
        "stroke=\"#222\" stroke-width=\"2\" stroke-dasharray=\"6 3\"",
    );
    line(
        &drawn.estimate,
        RATES,
        MOST_KBPS,
        "stroke=\"#1f5fbf\" stroke-width=\"2\"",
    );
    line(
        &drawn.queue,
        QUEUE,
        MOST_QUEUE,
        "stroke=\"#b3331f\" stroke-width=\"1.5\"",
    );
    let mut second = 0;
    while second as f32 <= seconds {
        let at = x(second * 10);
        let _ = writeln!(
            text,
            "<text x=\"{at:.1}\" y=\"466\" text-anchor=\"middle\" fill=\"#333\">{second} s</text>"
        );
        second += 5;
    }
    let legend = [
        ("#222", "link (dashed)"),
        ("#1f5fbf", "estimate; 0: no limit seen"),
        ("#2a9d62", "pictures"),
        ("#b3331f", "queue"),
    ];
    for (place, (colour, words)) in legend.into_iter().enumerate() {
        let left = LEFT + place as f32 * 220.0;
        let _ = writeln!(
            text,
            "<rect x=\"{left}\" y=\"478\" width=\"14\" height=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"485\">{words}</text>",
            left + 20.0
        );
    }
    text.push_str("</svg>\n");
    text
}
