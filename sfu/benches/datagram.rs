//! What the first look at a datagram costs, and what a connectivity check costs: read, verified, answered.
//!
//! `cargo bench -p housecall-sfu --bench datagram`

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use housecall_sfu::benching::recognised;
use housecall_turn::stun::{Builder, Class, IntegrityKey, Message, Method, TransactionId};

const ID: TransactionId = TransactionId([7; 12]);

/// A check as browsers send it.
fn check(key: &IntegrityKey) -> Vec<u8> {
    let mut buffer = [0; 256];
    let len = Builder::new(&mut buffer, Class::Request, Method::BINDING, ID)
        .username("0123456789abcdef:abcd")
        .priority(0x6e00_01ff)
        .use_candidate()
        .ice_controlling(7)
        .message_integrity(key)
        .fingerprint()
        .finish()
        .expect("it fits");
    buffer[..len].to_vec()
}

fn demux(criterion: &mut Criterion) {
    let check = check(&IntegrityKey::new(b"a password of some length"));
    let with = |first: u8, second: u8| {
        let mut datagram = vec![0x5a; 1_200];
        datagram[..2].copy_from_slice(&[first, second]);
        datagram
    };
    // As they come in a visit: mostly media.
    let (video, audio, control, dtls) = (with(0x90, 96), with(0x90, 111), with(0x8f, 205), with(22, 254));
    let datagrams: [&[u8]; 8] = [&video, &video, &video, &audio, &video, &control, &check, &dtls];
    assert_eq!(recognised(&datagrams), datagrams.len());
    let mut group = criterion.benchmark_group("demux");
    group.throughput(Throughput::Elements(datagrams.len() as u64));
    group.bench_function("eight datagrams", |bencher| {
        bencher.iter(|| recognised(black_box(&datagrams)));
    });
    group.finish();
}

fn stun(criterion: &mut Criterion) {
    let key = IntegrityKey::new(b"a password of some length");
    let check = check(&key);
    let peer: SocketAddr = ([192, 0, 2, 1], 40_000).into();
    let mut group = criterion.benchmark_group("stun");
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            let message = Message::parse(black_box(&check)).expect("well-formed");
            (
                message.username().map(str::len),
                message.priority(),
                message.use_candidate(),
                message.fingerprint(),
            )
        });
    });
    let message = Message::parse(&check).expect("well-formed");
    assert!(message.verify_integrity(&key).is_ok());
    group.bench_function("verify", |bencher| {
        bencher.iter(|| black_box(&message).verify_integrity(&key));
    });
    group.bench_function("build", |bencher| {
        let mut buffer = [0; 256];
        bencher.iter(|| {
            Builder::new(black_box(&mut buffer), Class::Success, Method::BINDING, ID)
                .xor_mapped_address(peer)
                .message_integrity(&key)
                .fingerprint()
                .finish()
        });
    });
    group.finish();
}

criterion_group!(benches, demux, stun);
criterion_main!(benches);
