//! What a server wants of its lobby, added up over its calls: each says only what is to change.

use muster_protocol::agent::LobbyWish;

/// All that was wished, the newest word on each part.
pub(super) fn besides(before: Option<LobbyWish>, wish: LobbyWish) -> LobbyWish {
    let before = before.unwrap_or_default();
    LobbyWish {
        name: wish.name.or(before.name),
        config: wish.config.or(before.config),
        tags: wish.tags.or(before.tags),
        open: wish.open.or(before.open),
        public: wish.public.or(before.public),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_word_on_each_part_holds() {
        let shut = LobbyWish { open: Some(false), name: Some("One".into()), ..LobbyWish::default() };
        let renamed = LobbyWish { name: Some("Two".into()), ..LobbyWish::default() };
        let all = besides(Some(besides(None, shut)), renamed);
        assert_eq!((all.open, all.name.as_deref(), all.public), (Some(false), Some("Two"), None));
    }
}
