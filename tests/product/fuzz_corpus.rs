//! Replays every fuzz input that was kept, on the stable compiler, through the functions the fuzz targets call.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

type Target = fn(&[u8]);

/// Each directory of `fuzz/corpus` with what its files are fed to.
const TARGETS: &[(&str, Target)] = &[
    ("channel_data", housecall_turn::fuzzing::channel_data),
    ("h264", housecall_sfu::fuzzing::h264),
    ("rtcp", housecall_sfu::fuzzing::rtcp),
    ("rtp", housecall_sfu::fuzzing::rtp),
    ("sdp", housecall_sfu::fuzzing::sdp),
    ("signaling_json", housecall_signaling::fuzzing::message),
    ("stun", housecall_turn::fuzzing::stun),
    ("transport", housecall_sfu::fuzzing::transport),
    ("turn", |data| {
        housecall_turn::fuzzing::turn(data);
    }),
    ("turn_framing", housecall_turn::fuzzing::framing),
    ("twcc_roundtrip", housecall_sfu::fuzzing::twcc_roundtrip),
    ("vp8", housecall_sfu::fuzzing::vp8),
    ("worker", housecall_sfu::fuzzing::worker),
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|cause| panic!("{} cannot be read: {cause}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a directory entry can be read").path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_passes() {
    for (name, target) in TARGETS {
        let inputs = files_in(&corpus().join(name));
        assert!(!inputs.is_empty(), "fuzz/corpus/{name} is empty");
        for input in inputs {
            let data = std::fs::read(&input).expect("a kept input can be read");
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                panic!("the fuzz target {name} fails on {}", input.display());
            }
        }
    }
}

#[test]
fn every_directory_is_replayed() {
    let directories: BTreeSet<String> = files_in(&corpus())
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    let replayed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        directories, replayed,
        "fuzz/corpus (left) and the table above (right) differ"
    );
}
