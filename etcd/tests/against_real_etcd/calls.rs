//! Every call of the client on a healthy cluster.

use etcd_admin::{EtcdError, Member, MemberClient};

use crate::servers::{
    START_LIMIT, TestCluster, TestMember, etcd_version, free_port, own_address,
    retry_while,
};

/// etcd refuses a change until its peers have been connected for five seconds.
fn is_unsettled(error: &EtcdError) -> bool {
    matches!(error, EtcdError::UnhealthyCluster { .. })
}

#[tokio::test]
async fn a_healthy_cluster_as_each_member_sees_it() {
    let cluster = TestCluster::start("healthy", 3).await;
    let mut leaders = Vec::new();
    let mut hashes = Vec::new();
    for (index, member) in cluster.members.iter().enumerate() {
        let client = member.client().await;
        let status = cluster.wait_until(index, "answers", |_| true).await;
        assert_eq!(status.version, etcd_version().to_string());
        assert!(!status.is_learner);
        assert!(status.db_size >= status.db_size_in_use && status.db_size_in_use > 0);
        assert!(status.raft_term > 0 && status.raft_index > 0);
        assert_eq!(status.errors, Vec::<String>::new());
        leaders.push((status.leader, status.is_leader()));

        // Names and client URLs are published a moment after the leader is there.
        let all_published = async || {
            let members = client.members().await?;
            match members.iter().all(Member::has_started) {
                true => Ok(members),
                false => Err(EtcdError::LearnerNotReady),
            }
        };
        let members = retry_while(all_published, |_| true).await.unwrap();
        assert_eq!(members.len(), 3);
        let me = members.iter().find(|m| m.id == status.member_id).unwrap();
        assert_eq!(me.name, member.name);
        assert_eq!(me.peer_urls, member.peer_urls);
        assert_eq!(me.client_urls, std::slice::from_ref(&member.client_url));
        assert!(client.linearizable_read().await.unwrap() >= 1);
        assert_eq!(client.alarms().await.unwrap(), []);
        hashes.push(client.hash_kv(0).await.unwrap());
    }
    assert_eq!(
        leaders.iter().filter(|(_, leads)| *leads).count(),
        1,
        "{leaders:?}"
    );
    assert!(
        leaders.iter().all(|(id, _)| *id == leaders[0].0),
        "{leaders:?}"
    );
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[tokio::test]
async fn the_leadership_moves_where_it_is_sent() {
    let cluster = TestCluster::start("move", 3).await;
    let (leader, follower) = cluster.leader_and_follower().await;
    let target = cluster
        .wait_until(follower, "answers", |_| true)
        .await
        .member_id;

    let from_follower = cluster.members[follower].client().await;
    let refusal = from_follower.move_leader(target).await.unwrap_err();
    assert!(matches!(refusal, EtcdError::NotLeader { .. }), "{refusal}");

    let from_leader = cluster.members[leader].client().await;
    let refusal = from_leader.move_leader(0xdead).await.unwrap_err();
    assert!(matches!(refusal, EtcdError::BadTransferTarget), "{refusal}");

    from_leader.move_leader(target).await.unwrap();
    let status = from_leader.status().await.unwrap();
    assert_eq!(status.leader, Some(target));
}

async fn start_learner(cluster: &TestCluster, learner: &mut TestMember) {
    let initial_cluster = format!(
        "{},{}={}",
        cluster.initial_cluster(),
        learner.name,
        learner.peer_urls[0]
    );
    learner.start(&cluster.token, &initial_cluster, "existing");
}

#[tokio::test]
async fn a_learner_joins_catches_up_votes_and_leaves() {
    let cluster = TestCluster::start("learner", 3).await;
    let client = cluster.members[0].client().await;
    let mut learner = TestMember::new(cluster.directory.path(), "etcd-3-node", 1);
    let peer_url = learner.peer_urls[0].clone();

    let added = retry_while(|| client.add_learner(&peer_url), is_unsettled)
        .await
        .unwrap();
    assert!(added.is_learner && !added.has_started(), "{added:?}");
    assert_eq!(added.peer_urls, std::slice::from_ref(&peer_url));
    refusals_before_the_learner_starts(&client, &added).await;

    start_learner(&cluster, &mut learner).await;
    promote_when_ready(&client, added.id).await;
    let refusal = client.promote(added.id).await.unwrap_err();
    assert!(matches!(refusal, EtcdError::NotALearner), "{refusal}");

    let members = client.members().await.unwrap();
    let voter = members.iter().find(|member| member.id == added.id).unwrap();
    assert_eq!(
        (voter.name.as_str(), voter.is_learner),
        ("etcd-3-node", false)
    );

    client.remove(added.id).await.unwrap();
    let refusal = client.remove(added.id).await.unwrap_err();
    assert!(matches!(refusal, EtcdError::MemberNotFound), "{refusal}");
    assert_eq!(client.members().await.unwrap().len(), 3);
}

async fn refusals_before_the_learner_starts(client: &MemberClient, learner: &Member) {
    let refusal = client.promote(learner.id).await.unwrap_err();
    assert!(matches!(refusal, EtcdError::LearnerNotReady), "{refusal}");

    // A new member counts as unconnected, so etcd may call the cluster
    // unhealthy for some seconds before it gets to these refusals.
    let address = own_address();
    let other_url = format!("http://{address}:{}", free_port(&address));
    let second = retry_while(|| client.add_learner(&other_url), is_unsettled).await;
    assert!(
        matches!(second, Err(EtcdError::TooManyLearners)),
        "{second:?}"
    );

    let same_url = &learner.peer_urls[0];
    let again = retry_while(|| client.add_learner(same_url), is_unsettled).await;
    assert!(matches!(again, Err(EtcdError::MemberExists)), "{again:?}");
}

async fn promote_when_ready(client: &MemberClient, member_id: u64) {
    let not_yet = |error: &EtcdError| {
        matches!(error, EtcdError::LearnerNotReady) || is_unsettled(error)
    };
    retry_while(|| client.promote(member_id), not_yet)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_learner_says_that_it_cannot_serve() {
    let cluster = TestCluster::start("cannot-serve", 1).await;
    let client = cluster.members[0].client().await;
    let mut learner = TestMember::new(cluster.directory.path(), "learner", 1);
    let peer_url = learner.peer_urls[0].clone();
    let added = retry_while(|| client.add_learner(&peer_url), is_unsettled)
        .await
        .unwrap();
    start_learner(&cluster, &mut learner).await;

    let of_learner = learner.client().await;
    let not_up = |error: &EtcdError| {
        matches!(
            error,
            EtcdError::Unreachable { .. } | EtcdError::TimedOut { .. }
        )
    };
    let status = retry_while(|| of_learner.status(), not_up).await.unwrap();
    assert!(status.is_learner, "{status:?}");
    assert_eq!(status.member_id, added.id);
    let refusal = of_learner.members().await.unwrap_err();
    assert!(
        matches!(refusal, EtcdError::LearnerCannotServe { .. }),
        "{refusal}"
    );
}

#[tokio::test]
async fn peer_urls_are_updated_by_id() {
    let cluster = TestCluster::start("update", 1).await;
    let client = cluster.members[0].client().await;
    let status = client.status().await.unwrap();
    let address = own_address();
    let urls = [format!("http://{address}:{}", free_port(&address))];
    client
        .update_peer_urls(status.member_id, &urls)
        .await
        .unwrap();
    assert_eq!(client.members().await.unwrap()[0].peer_urls, urls);
    let refusal = client.update_peer_urls(0xdead, &urls).await.unwrap_err();
    assert!(matches!(refusal, EtcdError::MemberNotFound), "{refusal}");
}

#[tokio::test]
async fn one_client_outlives_the_death_and_return_of_its_member() {
    let mut cluster = TestCluster::start("returns", 1).await;
    let client = cluster.members[0].client().await;
    let before = client.status().await.unwrap();
    cluster.members[0].kill().await;
    let down = client.status().await.unwrap_err();
    assert!(matches!(down, EtcdError::Unreachable { .. }), "{down}");
    let initial_cluster = cluster.initial_cluster();
    cluster.members[0].start("returns", &initial_cluster, "new");
    let after = retry_while(|| client.status(), |_| true).await;
    let after =
        after.unwrap_or_else(|error| panic!("not within {START_LIMIT:?}: {error}"));
    assert_eq!(after.member_id, before.member_id);
}
