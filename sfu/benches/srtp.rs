//! What sealing and opening one packet costs, by profile and size. `cargo bench -p housecall-sfu --bench srtp`

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use housecall_sfu::srtp::{DtlsRole, MAX_RTP_OVERHEAD, Opener, Profile, Sealer, from_dtls};

const HEADER_LEN: usize = 20;

fn pair(profile: Profile) -> (Sealer, Opener) {
    let material = vec![7; 2 * (profile.key_len() + profile.salt_len())];
    let (_, sealer) = from_dtls(profile, &material, DtlsRole::Server).expect("right length");
    let (opener, _) = from_dtls(profile, &material, DtlsRole::Client).expect("right length");
    (sealer, opener)
}

/// One-byte header extension of four bytes behind the fixed header; sequence number to be filled in.
fn packet(len: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; len + MAX_RTP_OVERHEAD];
    packet[..HEADER_LEN].copy_from_slice(&[0x90, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x51, 0, 1, 0]);
    packet
}

fn benches(criterion: &mut Criterion) {
    for len in [160_usize, 1_200] {
        let mut group = criterion.benchmark_group(format!("srtp/{len}"));
        group.throughput(Throughput::Bytes(len as u64));
        for profile in Profile::ALL {
            group.bench_function(BenchmarkId::new("seal", profile.name()), |bencher| {
                let (mut sealer, _) = pair(profile);
                let mut buffer = packet(len);
                let mut seq = 0_u16;
                bencher.iter(|| {
                    seq = seq.wrapping_add(1);
                    buffer[2..4].copy_from_slice(&seq.to_be_bytes());
                    sealer.seal_rtp(black_box(&mut buffer), len, HEADER_LEN)
                });
            });
            group.bench_function(BenchmarkId::new("open", profile.name()), |bencher| {
                let (mut sealer, mut opener) = pair(profile);
                let mut seq = 0_u16;
                let seal_next = || {
                    seq = seq.wrapping_add(1);
                    let mut buffer = packet(len);
                    buffer[2..4].copy_from_slice(&seq.to_be_bytes());
                    let sealed_len = sealer.seal_rtp(&mut buffer, len, HEADER_LEN).expect("rising numbers");
                    buffer.truncate(sealed_len);
                    buffer
                };
                bencher.iter_batched_ref(
                    seal_next,
                    |sealed| opener.open_rtp(black_box(sealed), HEADER_LEN).expect("just sealed"),
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(all, benches);
criterion_main!(all);
