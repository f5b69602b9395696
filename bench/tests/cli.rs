//! The command line of the built program.

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

#[test]
fn help_names_every_benchmark() {
    let output = bench(&["--help"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    for name in [
        "forward",
        "rooms",
        "storm",
        "churn",
        "latency",
        "turn",
        "--json",
        "--profile",
        "--server-bin",
    ] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
}

#[test]
fn a_server_that_is_not_built_is_explained() {
    let output = bench(&["forward", "--server-bin", "no/such/housecall"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("no/such/housecall is not there") && text.contains("cargo build"),
        "{text}"
    );
}

#[test]
fn another_server_needs_all_three_of_its_names() {
    let output = bench(&["forward", "--whip", "http://127.0.0.1:1/whip"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("--whep") && text.contains("--pid"), "{text}");
}
