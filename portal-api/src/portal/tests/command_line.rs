//! What the command line makes, beside a server that may run.

use super::*;

#[tokio::test]
async fn command_line_tokens_know_whose_they_are() {
    let f = fixture();
    let visit = f
        .portal
        .create_visit(VisitStart::In(SignedDuration::from_mins(10)), ClinicProfile::demo())
        .await
        .expect("made");
    assert_eq!(visit.starts_at, start() + SignedDuration::from_mins(10));
    let visit = visit.visit;
    let clinician = f.token(visit, HolderRole::Clinician, None).await;
    assert_eq!(
        f.token(visit, HolderRole::Clinician, None).await.person,
        clinician.person
    );
    let patient = f.token(visit, HolderRole::Patient, None).await;
    assert_eq!(f.token(visit, HolderRole::Patient, None).await.person, patient.person);
    assert_ne!(
        f.token(visit, HolderRole::Patient, Some("Bo")).await.person,
        patient.person
    );
    let guests = [
        f.token(visit, HolderRole::Guest, None).await,
        f.token(visit, HolderRole::Guest, None).await,
    ];
    assert_ne!(guests[0].person, guests[1].person);
    let session = f.session(&guests[0].token).await;
    assert_eq!((session.role, session.name.expose()), (HolderRole::Guest, "Guest"));

    f.clock.advance(SignedDuration::from_hours(1));
    assert!(matches!(
        err(f.portal.exchange(clinician.token.expose(), request()).await),
        PortalError::LinkExpired
    ));
    for ttl in [
        SignedDuration::ZERO,
        -SignedDuration::from_secs(1),
        TOKEN_LIFE + SignedDuration::from_secs(1),
    ] {
        let wanted = TokenRequest {
            visit,
            role: HolderRole::Guest,
            name: None,
            ttl: Some(ttl),
        };
        assert!(matches!(
            err(f.portal.mint_token(wanted).await),
            PortalError::Invalid(_)
        ));
    }
    let wanted = TokenRequest {
        visit: VisitId::random(),
        role: HolderRole::Guest,
        name: None,
        ttl: Some(SignedDuration::from_hours(1)),
    };
    assert!(matches!(err(f.portal.mint_token(wanted).await), PortalError::NotFound));
}

/// Printed at every start: they lead to the demo's own patient, whoever else was let into its visit and whatever else goes on.
#[tokio::test]
async fn printed_links_are_of_the_demo_appointment() {
    let f = fixture();
    let first = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    f.clock.advance(SignedDuration::from_secs(1));
    let made = f
        .portal
        .create_visit(VisitStart::In(SignedDuration::ZERO), ClinicProfile::demo())
        .await
        .expect("made");
    f.token(made.visit, HolderRole::Patient, Some("Bo Lund")).await;
    f.token(first.visit, HolderRole::Patient, Some("Aaron Adams")).await;

    let second = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    assert_eq!(second.visit, first.visit, "not the newer one of the command line");
    let (patient, clinician) = (f.session(&second.patient).await, f.session(&second.clinician).await);
    assert_eq!((patient.visit, patient.name.expose()), (first.visit, "Alex Rivera"));
    assert_eq!(
        (clinician.visit, clinician.name.expose()),
        (first.visit, "Dr. Sam Morgan")
    );
}

/// As in a directory that was used without the demo before.
#[tokio::test]
async fn a_first_demo_start_takes_over_nobody() {
    let f = fixture();
    let made = f
        .portal
        .create_visit(VisitStart::In(SignedDuration::ZERO), ClinicProfile::demo())
        .await
        .expect("made");
    f.token(made.visit, HolderRole::Patient, None).await;
    let links = f.portal.start_clinic(ClinicProfile::demo()).await.expect("started");
    assert_ne!(links.visit, made.visit);
    assert_eq!(f.session(&links.patient).await.name.expose(), "Alex Rivera");
}

#[tokio::test]
async fn a_visit_starts_when_it_was_said() {
    let f = fixture();
    let vancouver = || ClinicProfile {
        time_zone: "America/Vancouver".to_owned(),
        ..ClinicProfile::demo()
    };
    let at = |text: &str| VisitStart::At(text.parse().expect("instant"));
    let wall = |text: &str| VisitStart::OnTheWall(text.parse().expect("date and time"));
    for (start, expected) in [
        (VisitStart::In(SignedDuration::from_mins(90)), "2026-11-22T10:30:00Z"),
        (at("2026-11-23T08:00:00+01:00"), "2026-11-23T07:00:00Z"),
        // Vancouver stays at seven hours before UTC from 2026-11-01.
        (wall("2026-11-23T08:00"), "2026-11-23T15:00:00Z"),
        (wall("2027-07-01T08:00"), "2027-07-01T15:00:00Z"),
    ] {
        let made = f.portal.create_visit(start, vancouver()).await.expect("made");
        assert_eq!(made.starts_at.to_string(), expected, "{start:?}");
        assert_eq!(made.ends_at, made.starts_at + SignedDuration::from_mins(30));
        assert_eq!(made.time_zone, "America/Vancouver");
    }
    for start in [
        VisitStart::In(SignedDuration::MAX),
        at("2026-11-20T09:00:00Z"),
        at("2029-01-01T09:00:00Z"),
        wall("2026-11-20T09:00"),
    ] {
        let refused = err(f.portal.create_visit(start, vancouver()).await);
        assert!(
            refused.to_string().contains("between yesterday and two years"),
            "{start:?}"
        );
    }
}

/// When the clocks change, a time on the wall may come twice or never; to guess would be an hour wrong.
#[tokio::test]
async fn times_that_the_clinics_clocks_do_not_show_once_are_refused() {
    let f = fixture();
    let berlin = || ClinicProfile {
        time_zone: "Europe/Berlin".to_owned(),
        ..ClinicProfile::demo()
    };
    for shown in ["2027-03-28T02:30", "2027-10-31T02:30"] {
        let start = VisitStart::OnTheWall(shown.parse().expect("date and time"));
        let refused = err(f.portal.create_visit(start, berlin()).await);
        assert!(refused.to_string().contains("add the offset"), "{shown}");
    }
}

#[tokio::test]
async fn a_token_lives_as_long_as_an_appointments_link_unless_told_otherwise() {
    let f = fixture();
    let wanted = |visit, ttl| TokenRequest {
        visit,
        role: HolderRole::Guest,
        name: None,
        ttl,
    };
    let made = f
        .portal
        .create_visit(
            VisitStart::In(SignedDuration::from_hours(60 * 24)),
            ClinicProfile::demo(),
        )
        .await
        .expect("made");
    let minted = f.portal.mint_token(wanted(made.visit, None)).await;
    let minted = minted.unwrap_or_else(|cause| panic!("{cause}"));
    assert_eq!(minted.expires_at, made.ends_at + LINK_AFTER_END);
    assert_eq!(minted.ends_at, made.ends_at);
    f.clock.advance(SignedDuration::from_hours(60 * 24));
    assert_eq!(
        f.session(&minted.token).await.visit,
        made.visit,
        "it opens the visit when the time has come"
    );

    // A visit that nobody ended, long after its time.
    f.clock.advance(SignedDuration::from_hours(48));
    let late = f.portal.mint_token(wanted(made.visit, None)).await;
    let late = late.unwrap_or_else(|cause| panic!("{cause}"));
    assert_eq!(late.expires_at, f.portal.now() + SignedDuration::from_hours(1));

    let minute = SignedDuration::from_mins(1);
    let short = f.portal.mint_token(wanted(made.visit, Some(minute))).await;
    assert_eq!(
        short.unwrap_or_else(|cause| panic!("{cause}")).expires_at,
        f.portal.now() + minute
    );
}
