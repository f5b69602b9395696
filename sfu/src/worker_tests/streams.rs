//! Clients on connections: the visit goes over them as over UDP, and a connection that ends is noticed at once.

use std::time::Duration;

use super::peer::Profile;
use super::relayed::enter_by;
use super::stage::{ROOM, Stage, tell};
use crate::api::Event;
use crate::counters::Count;
use crate::path::{Path, PathKind, StreamId, StreamKind};
use crate::testing::link::Quality;

const SECOND: Duration = Duration::from_secs(1);
const PUBLISHER: usize = 0;
const VIEWER: usize = 1;

fn stage(seed: u64) -> Stage {
    let mut stage = Stage::new(seed);
    stage.join(ROOM, &Profile::full(), Quality::PERFECT);
    stage.join(ROOM, &Profile::viewer(), Quality::PERFECT);
    stage.watch(VIEWER, 0, PUBLISHER);
    stage.connect_all();
    stage.run(2 * SECOND);
    stage
}

fn stream(kind: StreamKind) -> Path {
    Path::stream(
        StreamId(9),
        kind,
        ([192, 0, 2, 200], 4_000).into(),
        [198, 51, 100, 1].into(),
    )
}

fn frames(stage: &Stage) -> u64 {
    stage.seats[VIEWER].peer.figures.rtp
}

#[test]
fn a_viewer_moves_to_a_connection_which_ends() {
    tell(5_200, 1, |seed| {
        for kind in [StreamKind::IceTcp, StreamKind::TurnTcp, StreamKind::TurnTls] {
            let mut stage = stage(seed);
            let direct = stage.seats[VIEWER].peer.path;
            let path = stream(kind);
            let moved = stage.now;
            match kind {
                StreamKind::IceTcp => {
                    assert!(stage.worker.open_stream(path));
                    stage.seats[VIEWER].peer.move_to(path, moved);
                }
                StreamKind::TurnTcp | StreamKind::TurnTls => {
                    assert!(!stage.worker.open_stream(path), "there is no relay yet");
                    enter_by(&mut stage, VIEWER, |stage| {
                        assert!(stage.worker.open_stream(path));
                        path
                    });
                }
            }
            stage.run(3 * SECOND);
            let before = frames(&stage);
            stage.run(SECOND);
            assert!(frames(&stage) > before, "{kind:?}: media flows on the connection");
            assert!(stage.worker.uses_stream(path));
            let sizes = stage.worker.take_counters().1;
            assert_eq!(sizes.allocations, i64::from(kind != StreamKind::IceTcp));
            assert_eq!(sizes.paths[path.kind() as usize], 1);
            assert_ne!(path.kind(), PathKind::Udp);

            let ended = stage.now;
            stage.worker.close_stream(path, ended);
            assert!(!stage.worker.uses_stream(path));
            assert_eq!(stage.worker.take_counters().1.allocations, -sizes.allocations);
            stage.run(Duration::from_millis(100));
            stage.seats[VIEWER].tunnel = None;
            stage.seats[VIEWER].peer.relayed = None;
            let back = stage.now;
            stage.seats[VIEWER].peer.move_to(direct, back);
            stage.run(3 * SECOND);
            let before = frames(&stage);
            stage.run(SECOND);
            assert!(frames(&stage) > before, "{kind:?}: and on the direct way again");
            assert_eq!(
                stage.told(ended, |event| matches!(event, Event::Disconnected { .. })),
                0,
                "the way it had before was still good"
            );
            stage.worker.check();
        }
    });
}

#[test]
fn each_kind_of_connection_carries_only_what_it_is_for() {
    tell(5_201, 1, |seed| {
        let mut stage = stage(seed);
        let now = stage.now;
        stage.worker.take_counters();
        let mut allocate = vec![0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        allocate.extend([7; 12]);
        stage
            .worker
            .handle_datagram(stream(StreamKind::IceTcp), &mut allocate, now);
        let (counters, _) = stage.worker.take_counters();
        assert_eq!(counters.get(Count::UnknownProtocol), 1, "no TURN in ICE");
        let mut media = vec![0x80; 100];
        stage
            .worker
            .handle_datagram(stream(StreamKind::TurnTls), &mut media, now);
        let (counters, _) = stage.worker.take_counters();
        assert_eq!(counters.get(Count::TurnRefused), 1, "nothing but TURN in TURN");
    });
}
