use super::ResourceType::{Clusters, Filters, Routes, Secrets};
use super::*;

/// An Envoy's end of a stream. It asks for what it is told of, as Envoy does.
#[derive(Default)]
struct Envoy {
    subscriber: Subscriber,
    wants: Vec<(ResourceType, Vec<String>)>,
}

impl Envoy {
    fn says(
        &mut self,
        of: ResourceType,
        nonce: &str,
        error: Option<&str>,
        at: &Snapshot,
    ) -> Verdict {
        let wanted = self.wants.iter().find(|(wants, _)| *wants == of);
        let names = wanted.map(|(_, names)| names.clone()).unwrap_or_default();
        let heard = Heard {
            nonce,
            names: &names,
            error,
        };
        self.subscriber.on_request(of, &heard, at)
    }

    fn asks(&mut self, of: ResourceType, names: &[&str], at: &Snapshot) -> Vec<Answer> {
        self.wants.retain(|(wants, _)| *wants != of);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.wants.push((of, names));
        self.says(of, "", None, at).answers
    }

    fn accepts(&mut self, answer: &Answer, at: &Snapshot) -> Vec<Answer> {
        let verdict = self.says(answer.of, &answer.nonce, None, at);
        assert_eq!(verdict.rejected, None);
        verdict.answers
    }

    /// Connected and content with a snapshot.
    fn at(snapshot: &Snapshot) -> Self {
        let mut envoy = Self::default();
        let secrets = names(snapshot, Secrets);
        for (of, names) in [
            (Clusters, [].as_slice()),
            (Secrets, secrets.as_slice()),
            (Routes, [ROUTES].as_slice()),
            (Filters, [GOVERNANCE_FILTER].as_slice()),
        ] {
            for answer in envoy.asks(of, names, snapshot) {
                assert_eq!(answer.of, of);
                assert!(envoy.accepts(&answer, snapshot).is_empty());
            }
        }
        assert_eq!(envoy.subscriber.standing(snapshot), Standing::Current);
        envoy
    }

    fn is(&self, snapshot: &Snapshot) -> Standing {
        self.subscriber.standing(snapshot)
    }
}

fn next(before: &Snapshot, providers: &[Provider]) -> Snapshot {
    Snapshot::after(Some(before), input(providers)).unwrap()
}

fn types(answers: &[Answer]) -> Vec<ResourceType> {
    answers.iter().map(|answer| answer.of).collect()
}

fn one(mut answers: Vec<Answer>) -> Answer {
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

#[test]
fn the_first_request_is_answered_with_what_there_is_of_what_it_names() {
    let snapshot = first(&[openai(), named("groq")]);
    let mut envoy = Envoy::default();
    assert_eq!(envoy.is(&snapshot), Standing::Behind, "it has not asked");
    let clusters = one(envoy.asks(Clusters, &[], &snapshot));
    assert_eq!((clusters.version, clusters.resources.len()), (1, 2));
    assert_eq!(envoy.is(&snapshot), Standing::Behind, "it has not accepted");
    assert!(envoy.accepts(&clusters, &snapshot).is_empty());
    assert_eq!(envoy.is(&snapshot), Standing::Current);

    let name = names(&snapshot, Secrets)[0];
    let secrets = one(envoy.asks(Secrets, &[name, "unknown"], &snapshot));
    assert_eq!(secrets.resources.len(), 1);
    assert!(
        Envoy::default()
            .asks(Secrets, &["unknown"], &snapshot)
            .is_empty()
    );
    assert!(
        Envoy::default()
            .asks(Filters, &["unknown"], &snapshot)
            .is_empty()
    );
}

#[test]
fn without_providers_envoy_is_told_that_there_are_none() {
    let snapshot = first(&[]);
    let clusters = one(Envoy::default().asks(Clusters, &[], &snapshot));
    assert!(clusters.resources.is_empty());
}

#[test]
fn a_change_is_sent_in_the_order_in_which_it_can_be_used() {
    let before = first(&[openai()]);
    let mut envoy = Envoy::at(&before);
    let mut later = input(&[openai(), named("groq")]);
    later.gateway.filter = "/another.wasm".into();
    let after = Snapshot::after(Some(&before), later).unwrap();
    let answers = envoy.subscriber.on_publish(&after);
    assert_eq!(types(&answers), [Clusters, Secrets, Routes, Filters]);
    assert_eq!(envoy.is(&after), Standing::Behind);
    for answer in &answers {
        envoy.accepts(answer, &after);
    }
    assert_eq!(envoy.is(&after), Standing::Current);
    assert!(
        envoy.subscriber.on_publish(&after).is_empty(),
        "nothing twice"
    );
}

#[test]
fn the_secret_of_a_new_cluster_is_sent_when_it_is_asked_for() {
    let before = first(&[openai()]);
    let mut envoy = Envoy::at(&before);
    let after = next(&before, &[openai(), named("groq")]);
    let answers = envoy.subscriber.on_publish(&after);
    // Envoy warms the cluster and asks for its secret, in the words of the answer it has.
    let all: Vec<String> = names(&after, Secrets).iter().map(|&it| it.into()).collect();
    envoy.wants.retain(|(of, _)| *of != Secrets);
    envoy.wants.push((Secrets, all));
    let secrets = answers.iter().find(|it| it.of == Secrets).unwrap();
    assert_eq!(
        secrets.resources.len(),
        1,
        "the other one was not asked for"
    );
    let more = one(envoy.accepts(secrets, &after));
    assert_eq!((more.of, more.resources.len()), (Secrets, 2));
    assert_eq!(
        more.version, secrets.version,
        "current, and new to it all the same"
    );
}

#[test]
fn a_rotated_key_is_sent_alone() {
    let before = first(&[openai()]);
    let mut envoy = Envoy::at(&before);
    let after = next(&before, &[with_key(openai(), "sk-another")]);
    let answer = one(envoy.subscriber.on_publish(&after));
    assert_eq!(answer.of, Secrets);
    envoy.accepts(&answer, &after);
    assert_eq!(envoy.is(&after), Standing::Current);
}

#[test]
fn a_cluster_stays_until_no_route_names_it() {
    let before = first(&[openai(), named("groq")]);
    let mut envoy = Envoy::at(&before);
    let after = next(&before, &[openai()]);
    let answers = envoy.subscriber.on_publish(&after);
    assert_eq!(types(&answers), [Clusters, Secrets, Routes]);
    assert_eq!(answers[0].resources.len(), 2, "both are there");
    for answer in &answers[..2] {
        assert!(envoy.accepts(answer, &after).is_empty());
    }
    assert_eq!(envoy.is(&after), Standing::Behind);
    let clusters = one(envoy.accepts(&answers[2], &after));
    assert_eq!((clusters.of, clusters.resources.len()), (Clusters, 1));
    assert_eq!(envoy.is(&after), Standing::Behind);
    envoy.accepts(&clusters, &after);
    assert_eq!(envoy.is(&after), Standing::Current);
}

#[test]
fn a_cluster_that_comes_back_before_it_is_gone_is_the_new_one() {
    let before = first(&[openai(), named("groq")]);
    let mut envoy = Envoy::at(&before);
    let without = next(&before, &[openai()]);
    envoy.subscriber.on_publish(&without);
    let mut moved = named("groq");
    moved.origin.port = 8443;
    let after = next(&without, &[openai(), moved]);
    let answers = envoy.subscriber.on_publish(&after);
    assert_eq!(answers[0].resources.len(), 2);
    let groq = after.set(Clusters).unwrap().resources["provider_groq"].clone();
    assert!(answers[0].resources.contains(&groq));
    for answer in &answers {
        assert!(envoy.accepts(answer, &after).is_empty());
    }
    assert_eq!(envoy.is(&after), Standing::Current);
}

#[test]
fn what_is_not_accepted_is_remembered_with_its_reason_and_not_sent_again() {
    let before = first(&[openai()]);
    let mut envoy = Envoy::at(&before);
    let after = next(&before, &[openai(), named("groq")]);
    let answers = envoy.subscriber.on_publish(&after);
    let verdict = envoy.says(Clusters, &answers[0].nonce, Some("bad cluster"), &after);
    assert_eq!(verdict.rejected, Some((2, "bad cluster".to_owned())));
    assert!(verdict.answers.is_empty());
    assert!(envoy.subscriber.on_publish(&after).is_empty());
    assert_eq!(envoy.is(&after), Standing::Behind, "more is on its way");
    for answer in &answers[1..] {
        envoy.accepts(answer, &after);
    }
    assert_eq!(envoy.is(&after), Standing::Rejected);
    let rejections: Vec<_> = envoy.subscriber.rejections().collect();
    assert_eq!(rejections, [(Clusters, 2, "bad cluster")]);

    let mended = next(&after, &[openai()]);
    for answer in envoy.subscriber.on_publish(&mended) {
        for more in envoy.accepts(&answer, &mended) {
            envoy.accepts(&more, &mended);
        }
    }
    assert_eq!(envoy.is(&mended), Standing::Current);
    assert_eq!(envoy.subscriber.rejections().count(), 0);
}

#[test]
fn while_routes_are_refused_no_cluster_that_they_name_goes() {
    let before = first(&[openai(), named("groq")]);
    let mut envoy = Envoy::at(&before);
    let after = next(&before, &[openai()]);
    let answers = envoy.subscriber.on_publish(&after);
    envoy.accepts(&answers[0], &after);
    envoy.accepts(&answers[1], &after);
    let verdict = envoy.says(Routes, &answers[2].nonce, Some("bad routes"), &after);
    assert!(verdict.answers.is_empty());
    assert_eq!(envoy.is(&after), Standing::Rejected);
}

#[test]
fn a_word_about_an_answer_that_was_replaced_is_not_about_the_new_one() {
    let before = first(&[openai()]);
    let mut envoy = Envoy::at(&before);
    let second = next(&before, &[with_key(openai(), "sk-2")]);
    let old = one(envoy.subscriber.on_publish(&second));
    let third = next(&second, &[with_key(openai(), "sk-3")]);
    let new = one(envoy.subscriber.on_publish(&third));
    assert!(
        envoy
            .says(Secrets, &old.nonce, Some("late"), &third)
            .rejected
            .is_none()
    );
    assert!(envoy.accepts(&old, &third).is_empty());
    assert_eq!(envoy.is(&third), Standing::Behind);
    envoy.accepts(&new, &third);
    assert_eq!(envoy.is(&third), Standing::Current);
}

#[test]
fn what_is_asked_for_again_is_sent_again() {
    let snapshot = first(&[openai()]);
    let mut envoy = Envoy::default();
    let name = names(&snapshot, Secrets)[0];
    let secrets = one(envoy.asks(Secrets, &[name], &snapshot));
    assert!(envoy.accepts(&secrets, &snapshot).is_empty());
    // A cluster went and came, and Envoy has dropped the secret in between.
    let again = one(envoy.accepts(&secrets, &snapshot));
    assert_eq!(again.resources, secrets.resources);
    assert!(envoy.accepts(&again, &snapshot).is_empty());
}

#[test]
fn what_is_no_longer_wanted_is_not_waited_for() {
    let before = first(&[openai()]);
    let mut envoy = Envoy::at(&before);
    envoy.wants.retain(|(of, _)| *of != Secrets);
    // The secrets were the second answer of the stream.
    envoy.says(Secrets, "2", None, &before);
    let after = next(&before, &[with_key(openai(), "sk-2")]);
    assert!(envoy.subscriber.on_publish(&after).is_empty());
    assert_eq!(envoy.is(&after), Standing::Current);
}

#[test]
fn an_answer_shows_no_resource_when_it_is_printed() {
    let snapshot = first(&[openai()]);
    let name = names(&snapshot, Secrets)[0];
    let secrets = one(Envoy::default().asks(Secrets, &[name], &snapshot));
    let bytes = b"sk-planted".map(|byte| byte.to_string()).join(", ");
    let shown = format!("{secrets:?}");
    assert!(
        !shown.contains("planted") && !shown.contains(&bytes),
        "{shown}"
    );
}
