//! Whose data it is. Commands are run by people, the server by a user of its own: a person's first try is often without `sudo -u`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The name of the user that a directory belongs to, if that is neither root nor whoever runs this program.
pub(crate) fn other_owner(directory: &Path) -> Option<String> {
    let owner = std::fs::metadata(directory).ok()?.uid();
    let own = rustix::process::geteuid().as_raw();
    if owner == 0 || owner == own || own == 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    Some(name_in(&users, owner))
}

/// The user's name as `sudo -u` takes it (`passwd(5)`): a number where there is none, in quotes, or a shell would take it for a comment.
fn name_in(users: &str, id: u32) -> String {
    let mut lines = users.lines().map(|line| line.split(':'));
    let name = lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    });
    name.map_or_else(|| format!("'#{id}'"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_number() {
        let users =
            "root:x:0:0:root:/root:/bin/bash\n# a comment\nhousecall:x:998:997::/var/lib/housecall:/usr/sbin/nologin\n";
        assert_eq!(name_in(users, 998), "housecall");
        assert_eq!(name_in(users, 997), "'#997'", "that is a group");
        assert_eq!(name_in("", 7), "'#7'");
    }

    #[test]
    fn ones_own_directory_is_nobody_elses() {
        let own = tempfile::tempdir().expect("a directory");
        assert_eq!(other_owner(own.path()), None);
        assert_eq!(other_owner(&own.path().join("missing")), None);
    }
}
