//! Offers of real clients, and what must come of them. Assertions look at what an answer says, not at its whole text.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::session::{Codec, DeclaredSsrc, Feedback, LayerOrder, Line, Refusal};
use super::*;
use crate::api::{IceCredentials, NegotiateError};
use crate::ids::{Mid, PayloadType, Rid, Ssrc};
use crate::media::{Kind, Layer, Source};

/// Answers as one server would: SSRCs count up from the given one.
fn answer_from(first_ssrc: u32, offer: &str, previous: Option<&Session>) -> Result<(Session, Answer), NegotiateError> {
    let local_ice = IceCredentials {
        ufrag: "serv".to_owned(),
        pwd: "a-password-of-the-server".to_owned(),
    };
    let fingerprint = format!("sha-256 {}", ["5E"; 32].join(":")).parse().unwrap();
    let candidates = ["192.0.2.1:8080".parse().unwrap(), "[2001:db8::1]:8080".parse().unwrap()];
    let mut ssrc = first_ssrc;
    let params = AnswerParams {
        local_ice: &local_ice,
        fingerprint: &fingerprint,
        candidates: &candidates,
        tcp_candidates: &candidates[..1],
        start_kbps: 1_500,
        session_id: 42,
        next_ssrc: &mut || {
            ssrc += 1;
            Ssrc(ssrc)
        },
    };
    answer(offer, previous, params).map(|(session, text)| (session, Answer::new(text)))
}

fn agreed(offer: &str) -> (Session, Answer) {
    answer_from(1_000, offer, None).unwrap()
}

fn refused(offer: &str) -> NegotiateError {
    match answer_from(1_000, offer, None) {
        Ok((_, answer)) => panic!("answered:\n{}", answer.text),
        Err(error) => error,
    }
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!(
        "{}/tests/fixtures/offers/{name}.sdp",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn fixtures() -> Vec<(String, String)> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/offers")).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    let all: Vec<_> = paths
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fixture(&name);
            (name, text)
        })
        .collect();
    assert!(all.len() >= 18, "the fixtures are there");
    all
}

/// An answer, cut into its lines.
struct Answer {
    text: String,
    /// Session part first, then one per `m=` line.
    parts: Vec<Vec<String>>,
}

impl Answer {
    fn new(text: String) -> Self {
        let mut parts = vec![Vec::new()];
        for line in text.lines() {
            if line.starts_with("m=") {
                parts.push(Vec::new());
            }
            parts.last_mut().unwrap().push(line.to_owned());
        }
        Self { text, parts }
    }

    fn session(&self) -> &[String] {
        &self.parts[0]
    }

    fn line(&self, index: usize) -> &[String] {
        &self.parts[index + 1]
    }

    #[track_caller]
    fn has(&self, index: usize, line: &str) {
        let lines = self.line(index);
        assert!(lines.iter().any(|other| other == line), "no `{line}` in {lines:#?}");
    }

    #[track_caller]
    fn has_none(&self, index: usize, start: &str) {
        let lines = self.line(index);
        assert!(
            !lines.iter().any(|other| other.starts_with(start)),
            "`{start}` in {lines:#?}"
        );
    }
}

fn mid(text: &str) -> Mid {
    Mid::new(text).unwrap()
}

fn rids(publishing: &Publishing) -> Vec<(Option<&str>, Option<Layer>)> {
    let pairs = publishing
        .encodings
        .iter()
        .map(|encoding| (encoding.rid.as_ref().map(Rid::as_str), encoding.layer));
    pairs.collect()
}

#[test]
fn every_fixture_is_answered_and_the_answer_is_whole() {
    for (name, offer) in fixtures() {
        let (session, answer) = agreed(&offer);
        let offered: Vec<&str> = offer.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(session.lines.len(), offered.len(), "{name}");
        assert_eq!(answer.parts.len() - 1, offered.len(), "{name}: a line for each line");
        assert!(answer.session().contains(&"a=ice-lite".to_owned()), "{name}");
        let tags: Vec<&str> = session.media().map(|line| line.mid.as_str()).collect();
        let group = format!("a=group:BUNDLE {}", tags.join(" "));
        assert!(answer.session().contains(&group), "{name}: {group}");
        assert_eq!(
            answer.text.matches("a=end-of-candidates").count(),
            1,
            "{name}: candidates once per bundle"
        );
        for (index, line) in session.lines.iter().enumerate() {
            match line {
                Line::Media(_) => {
                    for needed in ["a=setup:passive", "a=rtcp-mux", "a=ice-ufrag:serv"] {
                        answer.has(index, needed);
                    }
                }
                Line::Refused(_) => assert!(answer.line(index)[0].split(' ').nth(1) == Some("0"), "{name}"),
            }
        }
    }
}

#[test]
fn offering_the_same_again_changes_nothing() {
    for (name, offer) in fixtures() {
        let (first, first_answer) = agreed(&offer);
        let (second, second_answer) = answer_from(9_000, &offer, Some(&first)).unwrap();
        assert!(!second.ice_restarted(&first), "{name}");
        assert_eq!(first.lines, second.lines, "{name}");
        assert_eq!(first_answer.parts[1..], second_answer.parts[1..], "{name}");
        assert!(first_answer.session()[1].starts_with("o=- 42 1 "), "{name}");
        assert!(
            second_answer.session()[1].starts_with("o=- 42 2 "),
            "{name}: the version counts up"
        );
    }
}

#[test]
fn chromium_publishes_simulcast() {
    let (session, answer) = agreed(&fixture("chromium_client"));
    let video = session.line(mid("1")).unwrap();
    let publishing = video.publishes.as_ref().unwrap();
    assert_eq!(
        rids(publishing),
        [(Some("m"), Some(Layer::P480)), (Some("h"), Some(Layer::P720))]
    );
    assert!(publishing.declared.is_empty(), "Chromium declares no SSRC with rids");
    assert!(video.receives.is_none());
    let all = Feedback {
        nack: true,
        pli: true,
        fir: true,
        transport_cc: true,
    };
    assert_eq!(video.feedback, all);
    for line in [
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 108 109",
        "a=recvonly",
        "a=rid:m recv",
        "a=rid:h recv",
        "a=simulcast:recv m;h",
        "a=fmtp:96 x-google-start-bitrate=1500",
        "a=fmtp:97 apt=96",
        "a=fmtp:109 apt=108",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 transport-cc",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    ] {
        answer.has(1, line);
    }
}

#[test]
fn chromium_sends_red_and_thrifty_opus() {
    let (session, answer) = agreed(&fixture("chromium_client"));
    let audio = session.line(mid("0")).unwrap();
    let formats: Vec<_> = audio.formats.iter().collect();
    let opus = PayloadType(111);
    assert_eq!(
        formats,
        [
            (PayloadType(63), Format::Red { opus }),
            (opus, Format::Media(Codec::Opus))
        ],
        "redundancy first, else it is not used"
    );
    assert_eq!(rids(audio.publishes.as_ref().unwrap()), [(None, None)]);
    answer.has(0, "m=audio 9 UDP/TLS/RTP/SAVPF 63 111");
    let fmtp = answer
        .line(0)
        .iter()
        .find(|line| line.starts_with("a=fmtp:111 "))
        .unwrap();
    for wanted in ["maxaveragebitrate=32000", "stereo=0", "useinbandfec=1", "usedtx=1"] {
        assert!(fmtp.contains(wanted), "{fmtp}");
    }
    answer.has_none(0, "a=rtcp-fb:111 nack");
}

#[test]
fn only_useful_extensions_are_accepted() {
    let useless = [
        "dependency-descriptor",
        "video-orientation",
        "playout-delay",
        "toffset",
        "color-space",
        "video-layers-allocation",
        "extmap-allow-mixed",
    ];
    let offered = fixture("chromium_client");
    for extension in useless {
        assert!(offered.contains(extension), "{extension}: the fixture would not notice");
        for (name, offer) in fixtures() {
            assert!(!agreed(&offer).1.text.contains(extension), "{name}: {extension}");
        }
    }
}

#[test]
fn published_audio_without_redundancy_is_the_same_when_it_is_sent_again() {
    let says = |answer: &Answer, line: usize, what: &str| answer.line(line).iter().any(|text| text.contains(what));
    let (firefox, answer) = agreed(&fixture("firefox_client"));
    let ids = firefox.line(mid("0")).unwrap().publishes.as_ref().unwrap().extensions;
    assert_eq!((ids.twcc, ids.abs_send_time), (None, None));
    assert!(ids.mid.is_some() && ids.audio_level.is_some());
    assert!(firefox.extensions.twcc.is_some());
    for differs in ["transport-wide-cc", "abs-send-time", "transport-cc"] {
        assert!(
            fixture("firefox_client").contains(differs) && !says(&answer, 0, differs),
            "{differs}"
        );
    }
    // What tells of the path is on the pictures, and on all that we send.
    for line in [1, 2, 3] {
        assert!(says(&answer, line, "transport-wide-cc"), "line {line}");
    }
    let (_, chromium) = agreed(&fixture("chromium_client"));
    for needed in ["transport-wide-cc", "abs-send-time", "a=rtcp-fb:111 transport-cc"] {
        assert!(
            says(&chromium, 0, needed),
            "{needed}: without picture nothing else tells Chromium of its path"
        );
    }
}

#[test]
fn directions_of_firefox_extensions_are_flipped() {
    let (session, answer) = agreed(&fixture("firefox_client"));
    answer.has(1, "a=extmap:9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id");
    answer.has(
        1,
        "a=extmap:10/recvonly urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    );
    let publishing = session.line(mid("1")).unwrap().publishes.as_ref().unwrap();
    assert_eq!(
        (publishing.extensions.rid, publishing.extensions.repaired_rid),
        (Some(9), Some(10))
    );
    let sent = session.line(mid("3")).unwrap().receives.as_ref().unwrap().extensions;
    assert_eq!(
        (sent.mid, sent.twcc, sent.rid),
        (Some(3), Some(7), None),
        "we name no rid on what we send"
    );
    answer.has_none(3, "a=extmap:9");
    assert_eq!(
        (session.extensions.mid, session.extensions.audio_level),
        (Some(3), Some(1))
    );
}

#[test]
fn firefox_lists_ssrcs_in_pairs() {
    let (session, _) = agreed(&fixture("firefox_client"));
    let publishing = session.line(mid("1")).unwrap().publishes.as_ref().unwrap();
    assert_eq!(
        rids(publishing),
        [(Some("m"), Some(Layer::P480)), (Some("h"), Some(Layer::P720))]
    );
    assert_eq!(publishing.declared.len(), 2);
    assert!(publishing.declared.iter().all(|ssrc| ssrc.rtx.is_some()));
}

#[test]
fn retransmissions_are_relied_on_only_where_the_offer_says_where_they_come() {
    let names = |offer: &str| {
        let (session, _) = agreed(offer);
        let mut lines = session.lines.iter().filter_map(|line| match line {
            Line::Media(media) if media.kind == Kind::Video => media.publishes.as_ref(),
            _ => None,
        });
        lines.next().unwrap().names_repairs()
    };
    for name in [
        "chromium_client",
        "chromium_single",
        "firefox_client",
        "firefox_single",
        "whip_gstreamer",
    ] {
        assert!(names(&fixture(name)), "{name}");
    }
    // With the format of retransmissions, but no stream for them.
    for name in ["chromium_single", "firefox_single"] {
        let offer = fixture(name);
        let kept = offer
            .lines()
            .filter(|line| !line.starts_with("a=ssrc-group:FID") && !line.contains("repaired-rtp-stream-id"));
        let bare: String = kept.map(|line| format!("{line}\r\n")).collect();
        assert_ne!(bare, offer, "{name}");
        assert!(!names(&bare), "{name}");
    }
}

#[test]
fn what_we_send_is_declared_with_retransmission() {
    for (name, audio, video) in [
        ("chromium_client", 2, 3),
        ("firefox_client", 2, 3),
        ("firefox_receive", 0, 1),
    ] {
        let (session, answer) = agreed(&fixture(name));
        let Line::Media(line) = &session.lines[video] else {
            panic!("{name}: refused")
        };
        let receives = line.receives.as_ref().unwrap();
        let (ssrc, rtx) = (receives.ssrc.0, receives.rtx.unwrap().0);
        answer.has(video, "a=sendonly");
        answer.has(video, "a=msid:remote-0 remote-0-video");
        answer.has(video, &format!("a=ssrc-group:FID {ssrc} {rtx}"));
        answer.has(video, &format!("a=ssrc:{ssrc} cname:remote-0"));
        answer.has(video, &format!("a=ssrc:{rtx} cname:remote-0"));
        answer.has(audio, "a=msid:remote-0 remote-0-audio");
        answer.has_none(audio, "a=ssrc-group");
        answer.has_none(video, "a=rid");
        let vp8 = line.formats.media(Codec::Vp8).unwrap();
        assert!(line.formats.rtx(vp8).is_some(), "{name}");
        let ssrcs: BTreeSet<_> = session
            .media()
            .filter_map(|line| line.receives.as_ref())
            .map(|r| r.ssrc)
            .collect();
        assert_eq!(
            ssrcs.len(),
            session.media().filter(|line| line.receives.is_some()).count(),
            "{name}"
        );
    }
}

#[test]
fn a_plain_call_publishes_and_receives_on_the_same_lines() {
    for name in ["chromium_sendrecv", "firefox_sendrecv"] {
        let (session, answer) = agreed(&fixture(name));
        for (index, line) in session.media().enumerate() {
            let publishing = line.publishes.as_ref().unwrap();
            let layer = (line.kind == Kind::Video).then_some(Layer::P720);
            assert_eq!(rids(publishing), [(None, layer)], "{name}");
            assert_eq!(publishing.declared.len(), 1, "{name}");
            assert!(line.receives.is_some(), "{name}");
            answer.has(index, "a=sendrecv");
            answer.has_none(index, "a=simulcast");
        }
    }
}

#[test]
fn of_three_encodings_the_two_largest_are_taken() {
    for name in ["chromium_three_layers", "firefox_three_layers"] {
        let (session, answer) = agreed(&fixture(name));
        let publishing = session.line(mid("1")).unwrap().publishes.as_ref().unwrap();
        assert_eq!(
            rids(publishing),
            [(Some("h"), Some(Layer::P480)), (Some("f"), Some(Layer::P720))],
            "{name}"
        );
        answer.has(1, "a=simulcast:recv h;f");
    }
}

/// The ladder of a screen counts on one size: of two the larger is taken, and the answer says so.
#[test]
fn a_screen_has_one_encoding() {
    for (name, largest) in [("chromium_client", "h"), ("whip_obs_simulcast", "0")] {
        let offer = fixture(name).replace("a=mid:1\r\n", "a=mid:1\r\na=content:slides\r\n");
        let (session, answer) = agreed(&offer);
        let publishing = session.line(mid("1")).unwrap().publishes.as_ref().unwrap();
        assert_eq!(publishing.source, Source::Screen, "{name}");
        assert_eq!(rids(publishing), [(Some(largest), Some(Layer::P720))], "{name}");
        answer.has(1, &format!("a=rid:{largest} recv"));
        assert_eq!(
            answer.line(1).iter().filter(|line| line.starts_with("a=rid:")).count(),
            1,
            "{name}"
        );
    }
}

#[test]
fn a_paused_encoding_stays_paused() {
    let offer = fixture("chromium_client").replace("a=simulcast:send m;h", "a=simulcast:send m;~h");
    let (session, answer) = agreed(&offer);
    let publishing = session.line(mid("1")).unwrap().publishes.as_ref().unwrap();
    assert_eq!(
        publishing
            .encodings
            .iter()
            .map(|encoding| encoding.paused)
            .collect::<Vec<_>>(),
        [false, true]
    );
    answer.has(1, "a=simulcast:recv m;~h");
}

#[test]
fn stated_sizes_decide_before_order() {
    let (session, answer) = agreed(&fixture("whip_obs_simulcast"));
    let video = session.line(mid("1")).unwrap();
    let publishing = video.publishes.as_ref().unwrap();
    assert_eq!(
        rids(publishing),
        [(Some("1"), Some(Layer::P480)), (Some("0"), Some(Layer::P720))]
    );
    answer.has(1, "a=simulcast:recv 1;0");
    assert_eq!(publishing.order, LayerOrder::Stated);
}

#[test]
fn without_stated_sizes_the_order_is_only_assumed() {
    let stated = fixture("whip_obs_simulcast");
    let offer: String = stated
        .split_inclusive("\r\n")
        .map(|line| match line.split_once(" max-width") {
            Some((start, _)) if line.starts_with("a=rid:") => format!("{start}\r\n"),
            _ => line.to_owned(),
        })
        .collect();
    assert!(!offer.contains("max-width") && offer.contains("a=rid:0 send\r\n"));
    let (session, _) = agreed(&offer);
    let publishing = session.line(mid("1")).unwrap().publishes.as_ref().unwrap();
    assert_eq!(publishing.order, LayerOrder::Assumed);
    assert_eq!(
        rids(publishing),
        [(Some("0"), Some(Layer::P480)), (Some("1"), Some(Layer::P720))]
    );
}

#[test]
fn without_the_rid_extension_there_is_no_simulcast() {
    let offer = fixture("chromium_publish").replace("sdes:rtp-stream-id", "sdes:something-else");
    let (session, answer) = agreed(&offer);
    assert_eq!(
        rids(session.line(mid("1")).unwrap().publishes.as_ref().unwrap()),
        [(None, Some(Layer::P720))]
    );
    answer.has_none(1, "a=rid");
    answer.has_none(1, "a=simulcast");
}

#[test]
fn an_encoder_without_extensions_or_feedback_is_welcome() {
    let (session, answer) = agreed(&fixture("whip_obs"));
    let video = session.line(mid("1")).unwrap();
    assert_eq!(video.formats.media(Codec::H264), Some(PayloadType(96)));
    assert_eq!(video.formats.media(Codec::Vp8), None);
    assert!(video.feedback.nack && video.feedback.pli && !video.feedback.fir && !video.feedback.transport_cc);
    let declared = &video.publishes.as_ref().unwrap().declared;
    assert_eq!(
        declared[..],
        [DeclaredSsrc {
            media: Ssrc(3_100_022),
            rtx: None
        }]
    );
    answer.has_none(1, "a=extmap");
    answer.has_none(1, "a=rtcp-rsize");
    assert!(
        answer
            .line(1)
            .iter()
            .any(|line| line.contains("profile-level-id=42e01f"))
    );
}

#[test]
fn names_of_codecs_and_tags_are_free() {
    let (session, answer) = agreed(&fixture("whip_gstreamer"));
    let (video, audio) = (
        session.line(mid("video0")).unwrap(),
        session.line(mid("audio1")).unwrap(),
    );
    assert_eq!(
        audio.formats.media(Codec::Opus),
        Some(PayloadType(111)),
        "OPUS in capitals"
    );
    let declared = video.publishes.as_ref().unwrap().declared[0];
    assert_eq!(declared.rtx, Some(Ssrc(2_871_022_349)));
    answer.has(1, "a=mid:audio1");
}

#[test]
fn a_data_channel_is_refused_and_the_rest_goes_on() {
    for name in ["chromium_data_first", "firefox_data_first"] {
        let (session, answer) = agreed(&fixture(name));
        let refused = session
            .lines
            .iter()
            .position(|line| *line == Line::Refused(Refusal::NotMedia))
            .unwrap();
        assert_eq!(session.media().count(), 2, "{name}");
        assert!(
            answer.line(refused)[0].starts_with("m=application 0 UDP/DTLS/SCTP"),
            "{name}"
        );
    }
}

#[test]
fn one_line_may_be_refused() {
    let good = fixture("chromium_sendrecv");
    let cases: [(&str, String, Refusal); 4] = [
        ("closed", good.replace("m=video 9 ", "m=video 0 "), Refusal::Closed),
        (
            "no codec",
            good.replace(" VP8/90000", " VP7/90000").replace(" H264/", " H263/"),
            Refusal::NoCodec,
        ),
        (
            "no DTLS",
            good.replace("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 RTP/AVP"),
            Refusal::NotSecureRtp,
        ),
        (
            "not bundled",
            good.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"),
            Refusal::OwnTransport,
        ),
    ];
    for (what, offer, refusal) in cases {
        let (session, answer) = agreed(&offer);
        assert_eq!(session.lines[1], Line::Refused(refusal), "{what}");
        assert!(answer.line(1)[0].starts_with("m=video 0 "), "{what}");
        assert!(answer.session().contains(&"a=group:BUNDLE 0".to_owned()), "{what}");
        answer.has(1, "a=mid:1");
        answer.has(0, "a=sendrecv");
    }
}

#[test]
fn h264_needs_a_baseline_profile_in_mode_one() {
    let offer = fixture("whip_obs");
    let with = |fmtp: &str| {
        let full = "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1";
        agreed(&offer.replace(full, fmtp)).0.lines.pop().unwrap()
    };
    for taken in [
        "profile-level-id=42c015;packetization-mode=1",
        "Packetization-Mode=1; Profile-Level-Id=42001F",
        "packetization-mode=1",
    ] {
        assert!(matches!(with(taken), Line::Media(_)), "{taken}");
    }
    for refused in [
        "profile-level-id=42e01f",
        "profile-level-id=42e01f;packetization-mode=0",
        "profile-level-id=640032;packetization-mode=1",
        "profile-level-id=zz;packetization-mode=1",
    ] {
        assert_eq!(with(refused), Line::Refused(Refusal::NoCodec), "{refused}");
    }
}

#[test]
fn an_offer_that_cannot_work_is_refused_with_its_reason() {
    let good = fixture("chromium_client");
    let without = |start: &str| {
        let kept: Vec<&str> = good.lines().filter(|line| !line.starts_with(start)).collect();
        kept.join("\r\n") + "\r\n"
    };
    let many = format!("{good}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(61));
    let cases = [
        (String::new(), "RFC 8866"),
        ("hello".to_owned(), "line 1 "),
        (format!("{good}{}", "a=x\r\n".repeat(20_000)), "longer than 65536 bytes"),
        (many, "more than 64 media lines"),
        (good.replace("a=mid:1\r\n", "a=mid:0\r\n"), "same a=mid"),
        (good.replace("a=mid:1\r\n", "a=mid:a tag much too long\r\n"), "a=mid"),
        (good.replace("a=rid:m send", "a=rid:a&b send"), "rid"),
        (good.replace("85:43:75", "85:43"), "fingerprint"),
        (without("a=ice-pwd"), "ice-pwd"),
        (good.replace("a=ice-ufrag:x6Vy", "a=ice-ufrag:x"), "ice-ufrag"),
        (without("a=fingerprint"), "a=fingerprint"),
        (without("a=rtcp-mux"), "rtcp-mux"),
        (without("a=group"), "BUNDLE"),
        (without("a=mid"), "BUNDLE"),
        (without("a=setup"), "a=setup"),
        (good.replace("a=setup:actpass", "a=setup:passive"), "a=setup"),
        (good.replacen("a=extmap:4 ", "a=extmap:5 ", 1), "header extension"),
        (
            good.replace(" opus/48000/2", " G7221/16000")
                .replace(" VP8/", " VP9/")
                .replace(" H264/", " VP9/"),
            "codec",
        ),
        (good.replace(" 9 UDP/", " 0 UDP/"), "no open audio or video line"),
    ];
    for (offer, reason) in cases {
        let text = refused(&offer).to_string();
        assert!(text.contains(reason), "expected `{reason}` in: {text}");
    }
}

#[test]
fn refusals_do_not_repeat_secrets() {
    let offer = fixture("chromium_client").replace("a=ice-pwd:", "ice-pwd:");
    assert!(!refused(&offer).to_string().contains("jlkp"));
}

#[test]
fn lines_are_added_and_come_back_as_they_were() {
    let whole = fixture("chromium_client");
    let lines: Vec<&str> = whole.split("m=").collect();
    let publishing = [lines[0], lines[1], lines[2]]
        .join("m=")
        .replace("BUNDLE 0 1 2 3", "BUNDLE 0 1");
    let (first, _) = agreed(&publishing);
    let (second, answer) = answer_from(5_000, &whole, Some(&first)).unwrap();
    assert_eq!(first.lines[..], second.lines[..2]);
    let receives = |session: &Session, tag| session.line(mid(tag)).unwrap().receives.clone();
    let video = receives(&second, "3").unwrap();
    answer.has(3, &format!("a=ssrc:{} cname:remote-0", video.ssrc.0));

    // Paused and resumed: the same SSRCs.
    let inactive = whole.replace("a=recvonly", "a=inactive");
    let (third, answer) = answer_from(6_000, &inactive, Some(&second)).unwrap();
    assert_eq!(receives(&third, "3"), None);
    answer.has(3, "a=inactive");
    let (fourth, _) = answer_from(7_000, &whole, Some(&third)).unwrap();
    assert_eq!(receives(&fourth, "3"), Some(video));
    assert_eq!(fourth.lines, second.lines);
}

#[test]
fn a_closed_line_can_be_used_again() {
    let whole = fixture("chromium_client");
    let (first, _) = agreed(&whole);
    let closed = whole
        .replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 3")
        .replacen("a=mid:2\r\n", "", 1);
    let at = closed.rfind("m=audio 9").unwrap();
    let closed = format!("{}m=audio 0{}", &closed[..at], &closed[at + 9..]);
    let (second, _) = answer_from(5_000, &closed, Some(&first)).unwrap();
    assert_eq!(second.lines[2], Line::Refused(Refusal::Closed));
    let again = whole
        .replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 4 3")
        .replace("a=mid:2\r\n", "a=mid:4\r\n");
    let (third, _) = answer_from(6_000, &again, Some(&second)).unwrap();
    let line = third.line(mid("4")).unwrap();
    assert_eq!(
        line.receives.as_ref().unwrap().ssrc,
        Ssrc(6_001),
        "a new line, a new stream"
    );
}

#[test]
fn streams_are_numbered_per_kind() {
    let whole = fixture("chromium_receive");
    let second_pair = whole[whole.find("m=").unwrap()..]
        .replace("a=mid:0\r", "a=mid:2\r")
        .replace("a=mid:1\r", "a=mid:3\r");
    let offer = format!("{whole}{second_pair}").replace("BUNDLE 0 1", "BUNDLE 0 1 2 3");
    let (session, answer) = agreed(&offer);
    let streams: Vec<_> = session
        .media()
        .map(|line| line.receives.as_ref().unwrap().stream_id())
        .collect();
    assert_eq!(
        streams,
        ["remote-0", "remote-0", "remote-1", "remote-1"],
        "one stream per pair of audio and video"
    );
    answer.has(3, "a=msid:remote-1 remote-1-video");
}

#[test]
fn an_ice_restart_is_seen() {
    let offer = fixture("firefox_client");
    let (first, _) = agreed(&offer);
    let (second, _) = answer_from(5_000, &offer.replace("ab17bafe", "cd28cb0f"), Some(&first)).unwrap();
    assert!(second.ice_restarted(&first));
    assert_eq!(first.lines, second.lines);
}

#[test]
fn a_contradiction_is_a_conflict() {
    let offer = fixture("chromium_client");
    let (first, _) = agreed(&offer);
    let cut = offer[..offer.rfind("m=").unwrap()].replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 2");
    let cases = [
        (cut, "fewer media lines"),
        (offer.replace("85:43:75", "85:43:76"), "certificate"),
        (
            offer
                .replace("BUNDLE 0 1 2 3", "BUNDLE 0 7 2 3")
                .replace("a=mid:1\r", "a=mid:7\r"),
            "another mid",
        ),
        (
            swap(&offer, "a=rtpmap:96 VP8/90000", "a=rtpmap:108 H264/90000"),
            "changed its meaning",
        ),
        (swap(&offer, "a=extmap:2 ", "a=extmap:3 "), "changed its meaning"),
    ];
    for (offer, reason) in cases {
        match answer_from(5_000, &offer, Some(&first)) {
            Err(NegotiateError::Conflict(text)) => assert!(text.contains(reason), "{text}"),
            other => panic!("{reason}: {:?}", other.map(|(session, _)| session)),
        }
    }
}

/// Swaps the numbers in two attributes of the form `a=name:number rest`, everywhere.
fn swap(offer: &str, one: &str, other: &str) -> String {
    let number = |text: &str| text.split([':', ' ']).nth(1).unwrap().to_owned();
    let renamed = |text: &str, to: &str| text.replacen(&number(text), to, 1);
    let (first, second) = (number(one), number(other));
    offer
        .replace(one, "\u{0}")
        .replace(other, &renamed(other, &first))
        .replace('\u{0}', &renamed(one, &second))
}

proptest! {
    /// Offers with lines lost, repeated, moved or cut are answered or refused, and every answer stands.
    #[test]
    fn damaged_offers_do_no_harm(
        which in 0..18_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5_u8), 0..8),
    ) {
        let (_, offer) = fixtures().swap_remove(which);
        let mut lines: Vec<String> = offer.lines().map(str::to_owned).collect();
        for (at, other, how) in damage {
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            let line = lines[at].clone();
            match how {
                0 => drop(lines.remove(at)),
                1 => lines.insert(other, line),
                2 => lines.swap(at, other),
                3 => lines[at].truncate(other % (line.len() + 1)),
                _ => lines[at] = format!("{}{}", &line[..line.len() / 2], &lines[other][lines[other].len() / 2..]),
            }
        }
        crate::fuzzing::sdp((lines.join("\r\n") + "\r\n").as_bytes());
    }
}
