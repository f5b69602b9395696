//! SDP fragments (RFC 8840) as WHIP and WHEP `PATCH` bodies carry them.

use std::fmt::Write;

use housecall_sfu::IceCredentials;

use crate::limits;

/// Checks that a fragment is one; what it says is of no use to an ICE-lite server.
pub(crate) fn check(fragment: &str) -> Result<(), &'static str> {
    if fragment.len() > limits::MAX_FRAGMENT_BYTES {
        return Err("it is too long");
    }
    let mut lines = fragment.lines().filter(|line| !line.trim().is_empty()).peekable();
    if lines.peek().is_none() {
        return Err("it is empty");
    }
    let is_line = |line: &str| matches!(line.as_bytes(), [b'a' | b'm', b'=', _, ..]);
    if lines.all(is_line) {
        Ok(())
    } else {
        Err("it has lines other than a= and m=")
    }
}

/// The client's new credentials.
pub(crate) fn credentials(fragment: &str) -> Result<IceCredentials, &'static str> {
    check(fragment)?;
    let value = |prefix: &str| fragment.lines().find_map(|line| line.trim_end().strip_prefix(prefix));
    let ufrag = value("a=ice-ufrag:").ok_or("it has no a=ice-ufrag, which an ICE restart needs")?;
    let pwd = value("a=ice-pwd:").ok_or("it has no a=ice-pwd, which an ICE restart needs")?;
    // RFC 8839 §5.4: ice-char.
    let fits = |text: &str, least: usize| {
        (least..=256).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    };
    if !fits(ufrag, 4) || !fits(pwd, 22) {
        return Err("its a=ice-ufrag or a=ice-pwd is not one by RFC 8839");
    }
    Ok(IceCredentials {
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
    })
}

/// What an ICE restart repeats of an answer: its first media line, with `mid` and candidates.
pub(crate) fn lines_of_answer(sdp: &str) -> String {
    let mut kept = String::new();
    let from_first_media = sdp.lines().skip_while(|line| !line.starts_with("m="));
    for (index, line) in from_first_media.enumerate() {
        if index > 0 && line.starts_with("m=") {
            break;
        }
        let wanted = ["m=", "a=mid:", "a=candidate:", "a=end-of-candidates"];
        if wanted.iter().any(|prefix| line.starts_with(prefix)) {
            kept.push_str(line.trim_end());
            kept.push_str("\r\n");
        }
    }
    kept
}

/// The body that answers an ICE restart. The credentials stand at session level, in front of the media line.
pub(crate) fn restart(credentials: &IceCredentials, lines: &str) -> String {
    let mut body = String::with_capacity(128 + lines.len());
    let IceCredentials { ufrag, pwd } = credentials;
    write!(body, "a=ice-lite\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n{lines}")
        .expect("writing to a String cannot fail");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fragment_of_a_restart() {
        let text =
            "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n";
        let read = credentials(text).expect("a fragment");
        assert_eq!(
            (read.ufrag.as_str(), read.pwd.as_str()),
            ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
        );
    }

    #[test]
    fn refuses_what_is_no_fragment() {
        let long = "a=x\n".repeat(limits::MAX_FRAGMENT_BYTES);
        let bad = ["", "\r\n", "hello", "v=0\r\n", "a=\r\n", &long];
        for text in bad {
            assert!(check(text).is_err(), "{:.20}", text);
        }
        for text in [
            "a=mid:0",
            "a=ice-ufrag:EsAw\n",
            "a=ice-ufrag:E\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
        ] {
            assert!(check(text).is_ok() && credentials(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_answered_restart_names_the_candidates_again() {
        let answer = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
                      a=candidate:1 1 udp 2130706431 192.0.2.1 8080 typ host\r\na=end-of-candidates\r\n\
                      m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";
        let credentials = IceCredentials {
            ufrag: "uuuu".into(),
            pwd: "p".repeat(22),
        };
        assert_eq!(
            restart(&credentials, &lines_of_answer(answer)),
            format!(
                "a=ice-lite\r\na=ice-ufrag:uuuu\r\na=ice-pwd:{}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                 a=candidate:1 1 udp 2130706431 192.0.2.1 8080 typ host\r\na=end-of-candidates\r\n",
                "p".repeat(22)
            )
        );
    }
}
