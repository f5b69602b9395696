//! What the accounts of the receiving side cost: noting a packet, building transport-wide feedback, reading it.
//!
//! `cargo bench -p housecall-sfu --bench twcc`

use std::hint::black_box;
use std::time::Instant;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use housecall_sfu::benching::{Receiving, read_feedback};

/// A datagram of our own making.
const DATAGRAM: usize = 1_232;

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is a driver: it needs some instant to start from"
)]
fn start() -> Instant {
    Instant::now()
}

fn accounts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive");
    group.throughput(Throughput::Elements(1));
    let mut receiving = Receiving::new(start());
    group.bench_function("note a packet", |bencher| bencher.iter(|| receiving.packet(0)));
    group.finish();
}

fn feedback(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transport-wide feedback");
    // 50 ms of audio and both layers are about 15 packets; 500 is a burst that fills a datagram.
    for (packets, lost) in [(15, 0), (15, 10), (500, 0), (500, 10)] {
        let name = format!("{packets} packets, {lost} % lost");
        group.throughput(Throughput::Elements(packets));
        let filled = || {
            let mut receiving = Receiving::new(start());
            for _ in 0..packets {
                receiving.packet(lost);
            }
            receiving
        };
        group.bench_function(BenchmarkId::new("build", &name), |bencher| {
            let mut out = [0; DATAGRAM];
            bencher.iter_batched_ref(filled, |receiving| receiving.feedback(&mut out), BatchSize::SmallInput);
        });
        let mut out = [0; DATAGRAM];
        let length = filled().feedback(&mut out);
        assert!(length > 0, "there is something to read");
        group.bench_function(BenchmarkId::new("read", &name), |bencher| {
            bencher.iter(|| read_feedback(black_box(&out[..length])));
        });
    }
    group.finish();
}

criterion_group!(benches, accounts, feedback);
criterion_main!(benches);
