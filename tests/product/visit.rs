//! A visit, from outside, without media: the waiting room, the end, and what a restart leaves.

use std::path::Path;

use housecall_portal::Portal;
use housecall_portal::ids::RequestId;
use housecall_portal::store::{AuditRow, Ctx};
use housecall_signaling::message::{ClientMessage, ClinicianPresence, EndReason, Place, RoleName};

use crate::person::{self, Person, together};
use crate::server::{self, Server};

#[tokio::test]
async fn a_patient_waits_is_admitted_and_the_visit_ends() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(data.path());
    let mut patient = Person::join(&server, server.token("Patient")).await;
    assert_eq!(patient.role, RoleName::Patient);
    let alone = patient.until(|_| true).await;
    assert!(matches!(alone.you, Place::Waiting { position: 1 }));
    assert_eq!(alone.clinician, ClinicianPresence::NotStarted);
    assert!(
        alone.participants.is_empty() && alone.queue.is_empty(),
        "a waiting patient sees nobody"
    );

    let mut clinician = Person::join(&server, server.token("Clinician")).await;
    assert_eq!(clinician.role, RoleName::Clinician);
    patient.until(|state| state.clinician == ClinicianPresence::Ready).await;
    let queue = clinician.until(|state| !state.queue.is_empty()).await.queue;
    assert_eq!(queue[0].participant, patient.participant);
    let participant = queue[0].participant.clone();
    clinician.send(&ClientMessage::Admit { participant }).await;
    patient.until_together(2).await;
    clinician.until_together(2).await;

    clinician.send(&ClientMessage::EndVisit {}).await;
    assert_eq!(patient.until_ended().await, EndReason::VisitEnded);
    assert_eq!(clinician.until_ended().await, EndReason::VisitEnded);
}

#[tokio::test]
async fn tokens_of_the_command_line_open_their_visit() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(data.path());
    let visit = server::command(data.path(), &["visit", "create"]);
    for (word, role) in [
        ("clinician", RoleName::Clinician),
        ("patient", RoleName::Patient),
        ("guest", RoleName::Guest),
    ] {
        let arguments = ["token", "--visit", &visit, "--role", word, "--name", "Ann Example"];
        let token = server::command(data.path(), &arguments);
        let grant = person::session(&server, &token).await;
        assert_eq!(grant["visit"]["id"], visit);
        assert_eq!(grant["role"], word);
        assert_eq!(grant["name"], "Ann Example");
        assert!(Person::join(&server, &token).await.role == role);
    }
}

#[tokio::test]
async fn a_server_may_listen_on_ipv6_alone_or_on_both() {
    for listen in ["[::1]:0", "[::]:0"] {
        let data = tempfile::tempdir().expect("a temporary directory");
        let server = Server::start_on(data.path(), listen);
        let port = server.address().rsplit(':').next().expect("an address has a port");
        assert_eq!(server.origin(), format!("http://localhost:{port}"));
        let media = format!("UDP {}", listen.replace(":0", &format!(":{port}")));
        assert!(server.after("Listening").contains(&media), "{media}");
        let (mut clinician, mut patient) = together(&server).await;
        clinician.send(&ClientMessage::EndVisit {}).await;
        assert_eq!(patient.until_ended().await, EndReason::VisitEnded);
    }
}

#[tokio::test]
async fn a_stop_tells_everybody() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(data.path());
    let (mut clinician, mut patient) = together(&server).await;
    server.terminate();
    assert_eq!(patient.until_ended().await, EndReason::ServerStopping);
    assert_eq!(clinician.until_ended().await, EndReason::ServerStopping);
    assert!(server.ended().success());
}

#[tokio::test]
async fn a_kill_loses_nothing_and_both_rejoin_from_the_open_page() {
    let data = tempfile::tempdir().expect("a temporary directory");
    // It comes back at the same port, which nobody is to take meanwhile.
    let server = Server::start_on(data.path(), &format!("{}:0", server::own_address()));
    let address = server.address().to_owned();
    let (token, visit) = (server.token("Patient").to_owned(), "visit");
    let (mut clinician, mut patient) = together(&server).await;
    let before = person::session(&server, &token).await[visit].clone();
    let audited = audit(data.path()).await;
    assert!(
        audited.iter().any(|row| row.objects.contains("event:admitted")),
        "the admission is in the audit log"
    );

    server.kill();
    patient.until_broken().await;
    clinician.until_broken().await;

    let server = Server::start_on(data.path(), &address);
    assert_eq!(
        audit(data.path()).await[..audited.len()],
        audited[..],
        "every audit row is still there"
    );
    assert_eq!(
        person::session(&server, &token).await[visit],
        before,
        "appointment and visit are as they were"
    );
    // The pages are still open: they have a session each and know nothing of the new start.
    let mut clinician = Person::hello(&server, &clinician.session).await;
    let mut patient = Person::hello(&server, &patient.session).await;
    patient.until_together(2).await;
    clinician.until_together(2).await;
}

/// The whole audit log. Any number of processes may have the data open.
async fn audit(data: &Path) -> Vec<AuditRow> {
    let portal = Portal::open(data).expect("the data can be opened");
    let ctx = Ctx::operator("test", RequestId::random());
    let rows = portal
        .store()
        .tx(&ctx, |tx| tx.audit_read(0, 10_000))
        .await
        .expect("the log can be read");
    assert!(rows.iter().zip(1..).all(|(row, number)| row.seq == number), "no gaps");
    rows
}
