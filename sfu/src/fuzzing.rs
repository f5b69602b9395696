//! Entry points for fuzzing: each takes arbitrary bytes and must return. The targets in `fuzz/` call them, and the tests replay
//! their corpora over them.

use crate::ext::{AudioLevel, ExtensionIds};
use crate::{h264, red, rtp, vp8};

/// RTP header, extensions in both forms, padding, redundancy.
pub fn rtp(data: &[u8]) {
    const IDS: ExtensionIds = ExtensionIds {
        mid: Some(4),
        rid: Some(10),
        repaired_rid: Some(11),
        twcc: Some(3),
        abs_send_time: Some(2),
        audio_level: Some(1),
    };
    let Ok(header) = rtp::RtpHeader::parse(data) else {
        return;
    };
    assert!(
        usize::from(header.len) <= data.len(),
        "the header lies inside the packet"
    );
    let found = header.extensions(data, &IDS);
    let _ = (
        found.mid(),
        found.rid(),
        found.repaired_rid(),
        found.audio_level.map(AudioLevel::to_byte),
    );
    if let Ok(payload) = header.payload(data)
        && let Ok(parsed) = red::Red::parse(payload)
    {
        let mut written = payload.to_vec();
        red::set_block_payload_type(&mut written, header.payload_type);
        assert_eq!(red::Red::parse(&written), Ok(parsed), "renaming keeps the blocks");
    }
}

/// VP8 payload descriptor and key frame header, and what is rewritten in them.
pub fn vp8(data: &[u8]) {
    let Ok(before) = vp8::Descriptor::parse(data) else {
        return;
    };
    let _ = before.key_frame_size(data);
    let mut written = data.to_vec();
    before.rewrite(&mut written, 0x1234, 0x56);
    let after = vp8::Descriptor::parse(&written);
    assert_eq!(
        after.map(|after| (after.len, after.temporal)),
        Ok((before.len, before.temporal)),
        "rewriting keeps the layout"
    );
}

/// H.264 aggregation, fragments and sequence parameter sets.
pub fn h264(data: &[u8]) {
    if let Some(sps) = h264::sequence_parameter_set(data) {
        let _ = h264::picture_size(sps);
    }
    let _ = h264::picture_size(data);
}
