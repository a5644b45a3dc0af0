use super::ResourceType::{Clusters, Filters, Routes, Secrets};
use super::*;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;

/// The types whose resources another input makes anew.
fn changed(before: &Input, after: Input) -> Vec<ResourceType> {
    let before = Snapshot::after(None, before.clone()).unwrap();
    let Some(after) = Snapshot::after(Some(&before), after) else {
        return Vec::new();
    };
    let version = |of| after.set(of).unwrap().version;
    let all = ResourceType::ALL.into_iter();
    all.filter(|of| version(*of) == after.version()).collect()
}

#[test]
fn the_same_again_is_no_news() {
    let both = input(&[openai(), named("groq")]);
    assert!(changed(&both, both.clone()).is_empty());
}

#[test]
fn another_key_changes_the_secrets_alone() {
    let rotated = with_key(openai(), "sk-another");
    assert_eq!(changed(&input(&[openai()]), input(&[rotated])), [Secrets]);
}

#[test]
fn another_key_that_signs_changes_the_cluster_alone() {
    let before = input(&[bedrock()]);
    let rotated = with_key(bedrock(), "another-secret-key");
    assert_eq!(changed(&before, input(&[rotated])), [Clusters]);
    let bearer = Provider {
        credential: openai().credential,
        ..bedrock()
    };
    assert_eq!(changed(&before, input(&[bearer])), [Clusters, Secrets]);
}

#[test]
fn a_provider_that_comes_or_goes_changes_what_names_it() {
    let (one, two) = (input(&[openai()]), input(&[openai(), named("groq")]));
    assert_eq!(changed(&one, two.clone()), [Clusters, Secrets, Routes]);
    assert_eq!(changed(&two, one.clone()), [Clusters, Secrets, Routes]);
    let with_bound = input(&[openai(), bound("k1")]);
    assert_eq!(changed(&one, with_bound), [Clusters, Secrets, Routes]);
}

#[test]
fn a_provider_that_moves_keeps_its_routes() {
    let mut moved = openai();
    moved.origin.port = 8443;
    assert_eq!(
        changed(&input(&[openai()]), input(&[moved])),
        [Clusters, Secrets]
    );
    let below = Provider {
        base_path: "/v2".to_owned(),
        ..openai()
    };
    assert_eq!(changed(&input(&[openai()]), input(&[below])), [Clusters]);
    let mut allowed = openai();
    allowed.egress.private.clear();
    assert_eq!(changed(&input(&[openai()]), input(&[allowed])), [Clusters]);
}

#[test]
fn what_is_copied_from_the_snapshot_before_is_what_would_be_made() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let mut moved = b.clone();
    moved.origin.port = 8443;
    let before = first(&[a.clone(), b]);
    let mut elsewhere = input(&[a.clone(), moved.clone()]);
    elsewhere.gateway.ca_bundle = "/etc/another.pem".into();
    for input in [
        input(&[a.clone(), moved.clone()]),
        input(&[c, a, moved]),
        elsewhere,
    ] {
        let clusters = |snapshot: Snapshot| -> Vec<(String, Cluster)> {
            let set = snapshot.set(Clusters).unwrap().resources.clone();
            let all = set.iter();
            all.map(|(name, cluster)| (name.clone(), decoded(cluster)))
                .collect()
        };
        let fresh = clusters(Snapshot::after(None, input.clone()).unwrap());
        assert_eq!(
            clusters(Snapshot::after(Some(&before), input).unwrap()),
            fresh
        );
    }
}

#[test]
fn other_settings_change_what_is_made_of_them() {
    let before = input(&[openai()]);
    let with = |change: fn(&mut Gateway)| {
        let mut after = before.clone();
        change(&mut after.gateway);
        changed(&before, after)
    };
    assert_eq!(with(|it| it.max_request_body_bytes = 1), [Routes]);
    assert_eq!(with(|it| it.domains = vec!["*".to_owned()]), [Routes]);
    assert_eq!(with(|it| it.filter = "/new".into()), [Clusters, Filters]);
    assert_eq!(with(|it| it.ca_bundle = "/new".into()), [Clusters]);
}

#[test]
fn a_type_is_known_by_envoys_name_for_it() {
    for of in ResourceType::ALL {
        assert_eq!(ResourceType::parse(&of.type_url()), Some(of));
    }
    let listeners = "type.googleapis.com/envoy.config.listener.v3.Listener";
    assert_eq!(ResourceType::parse(listeners), None);
}

#[test]
fn what_goes_can_stay_while_what_comes_is_there_already() {
    let before = input(&[named("a"), named("b")]);
    let rotated = with_key(named("b"), "sk-2");
    let after = input(&[rotated.clone(), named("c")]);
    let both = input(&[named("a"), rotated, named("c")]);
    assert_eq!(after.with_those_of(&before), both);
    assert_eq!(before.with_those_of(&before), before);
    let (plain, more) = (input(&[openai()]), input(&[openai(), bound("k1")]));
    assert_eq!(plain.with_those_of(&more), more);
}
