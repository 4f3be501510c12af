//! The page of a report, looked at in Chromium as people look at it: on a desktop and on a phone.
//!
//! The report is a real one, of short loads on two responders.

mod browser;

use browser::Browser;
use ringmq_bench::load::ceiling;
use ringmq_bench::load::generator::{self, Plan};
use ringmq_bench::load::pace::Pace;
use ringmq_bench::load::warm_up::WarmUp;
use ringmq_bench::os;
use ringmq_bench::report::{Bar, Bound, Demand, Machine, Ratio, Report, Round};
use ringmq_bench::responder::{Behaviour, Responder};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder that is removed again.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn round(server: &str, delay_ms: u64) -> Round {
    let core = os::allowed_cores().expect("known")[0];
    let behaviour = Behaviour::After(Duration::from_millis(delay_ms));
    let responder = Responder::start(behaviour, core).expect("a loopback port");
    let plan = Plan {
        targets: vec![responder.address],
        connections: 4,
        in_flight: 16,
        pace: Pace::Open { rate: 500.0 },
        warm_up: WarmUp::NONE,
        measure: Duration::from_millis(400),
        patience: Duration::from_secs(10),
        windows: None,
        stop: None,
    };
    let measured = generator::run(&plan, &mut ceiling::sends(&plan), &mut |_| {}).expect("all is right");
    Round::new(server, "send 4x16 1024 B at 500/s", measured, Duration::ZERO, None)
}

fn report() -> Report {
    let mut report = Report::new("compare <a> & \"b\"".into(), Machine::here(Path::new(".")));
    let pairs: Vec<(f64, f64)> = (0..5)
        .map(|_| {
            let (a, b) = (round("a", 2), round("b", 20));
            let pair = (a.latency.p50_us, b.latency.p50_us);
            report.rounds.extend([a, b]);
            pair
        })
        .collect();
    let ratio = Ratio::of("send 4x16", "p50 µs", ["a", "b"], &pairs).expect("pairs");
    report.ratios.push(ratio.clone().demanding(Demand { bound: Bound::AtMost, ratio: 0.5 }));
    report.ratios.push(ratio.demanding(Demand { bound: Bound::AtLeast, ratio: 0.5 }));
    report.bars.push(Bar::at_least("a bar that is cleared", 1.0, Some(1234.5678), "/s"));
    report.bars.push(Bar::at_most("a bar that is missed", 1.0, None, "µs"));
    report.fact("a small number", 0.001_234, "s");
    report.note("a note");
    report
}

/// Whether a text is a number rounded as the page rounds.
fn is_rounded(text: &str, value: f64) -> bool {
    let shown: f64 = text.replace(',', "").parse().unwrap_or(f64::NAN);
    let digits = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    (shown - value).abs() <= 0.5001 * 10_f64.powi(-(digits as i32))
}

/// Compares every number of the page with the JSON; gives how many there were.
fn check_numbers(browser: &mut Browser, json: &Value) -> usize {
    let cells = browser.evaluate(
        "[...document.querySelectorAll('[data-of]')].map(cell => [cell.dataset.of, cell.dataset.value, cell.textContent])",
    );
    let cells = cells.as_array().expect("a list");
    for cell in cells {
        let [of, value, text] = [0, 1, 2].map(|index| cell[index].as_str().expect("a text"));
        let expected = json.pointer(of).and_then(Value::as_f64).unwrap_or_else(|| panic!("nothing at {of}"));
        let value: f64 = value.parse().expect("a number");
        // Two parsers of decimal numbers may differ in the last bit.
        assert!((value - expected).abs() <= 1e-14 * expected.abs(), "{of} is {value}, not {expected}");
        assert!(is_rounded(text, expected), "{of} is shown as {text}, and is {expected}");
    }
    cells.len()
}

#[test]
fn the_page_says_what_the_json_says_on_a_desktop_and_on_a_phone() {
    let folder = Folder(std::env::temp_dir().join(format!("ringmq-page-{}", std::process::id())));
    let report = report();
    report.write(&folder.0).expect("a folder for temporary files");
    let json = fs::read(folder.0.join("report.json")).expect("written");
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    let page = folder.0.join("report.html");
    let mut browser = Browser::start(&folder.0.join("chromium"));

    for (width, height, is_phone) in [(1280, 900, false), (390, 844, true)] {
        browser.open(&page, width, height, is_phone);
        // 10 rounds with 8 numbers and no server's cost, 2 ratios with 5, 2 bars with 3 of 4, 1 fact.
        assert_eq!(check_numbers(&mut browser, &json), 10 * 8 + 2 * 5 + 3 + 1);
        assert_eq!(browser.evaluate("document.querySelector('h1').textContent"), "compare <a> & \"b\"");
        let embedded = browser.evaluate("document.getElementById('report').textContent");
        let embedded: Value = serde_json::from_str(embedded.as_str().expect("a text")).expect("JSON");
        assert_eq!(embedded, json, "the page's own report");
        assert_eq!(
            browser.evaluate("document.querySelectorAll('svg').length"),
            3,
            "ratios, percentiles, time"
        );
        assert_eq!(browser.evaluate("document.querySelectorAll('#curves polyline').length"), 10);
        assert_eq!(browser.evaluate("document.querySelectorAll('.bad').length"), 2, "one ratio, one bar");
        let sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.evaluate(sideways), 0, "only tables scroll sideways");

        let picture = browser.screenshot();
        let scale = if is_phone { 2 } else { 1 };
        assert_eq!((picture.width, picture.height), (width as usize * scale, height as usize * scale));
        assert!(
            picture.colours() > 8 && picture.inked() > 0.02,
            "{} colours, {} inked",
            picture.colours(),
            picture.inked()
        );
        assert_eq!(browser.complaints(), Vec::<String>::new());
        let requests = browser.requests();
        assert!(requests.len() == 1 && requests[0].starts_with("file://"), "{requests:?}");
    }
}

#[test]
fn a_page_without_anything_is_seen_to_be_empty_and_an_error_is_heard() {
    let folder = Folder(std::env::temp_dir().join(format!("ringmq-empty-{}", std::process::id())));
    fs::create_dir_all(&folder.0).expect("a folder for temporary files");
    let page = folder.0.join("empty.html");
    fs::write(&page, "<!doctype html><script>console.error('no'); nothing();</script>").expect("writable");
    let mut browser = Browser::start(&folder.0.join("chromium"));
    browser.open(&page, 800, 600, false);
    let picture = browser.screenshot();
    assert_eq!((picture.colours(), picture.inked()), (1, 0.0));
    assert_eq!(browser.complaints().len(), 2, "{:?}", browser.complaints());
}
