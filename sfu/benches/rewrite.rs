//! What it costs to store a packet once and to write it for each viewer, without crypto and I/O.
//!
//! `cargo bench -p housecall-sfu --bench rewrite`

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use housecall_sfu::testing::Forwarding;

/// Time for one packet to be written for one viewer, 720p frames of about six packets.
fn forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(1));
    for viewers in [1, 10, 100] {
        group.bench_function(BenchmarkId::from_parameter(viewers), |bencher| {
            bencher.iter_custom(|wanted| {
                let mut forwarding = Forwarding::new(viewers, clock());
                let (mut spent, mut done) = (Duration::ZERO, 0);
                while done < wanted {
                    forwarding.store();
                    let begin = clock();
                    let (packets, bytes) = black_box(forwarding.forward());
                    spent += clock() - begin;
                    assert!(packets > 0 && bytes > 0, "something is forwarded");
                    done += packets as u64;
                }
                spent.mul_f64(wanted as f64 / done as f64)
            });
        });
    }
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn clock() -> Instant {
    Instant::now()
}

criterion_group!(benches, forward);
criterion_main!(benches);
