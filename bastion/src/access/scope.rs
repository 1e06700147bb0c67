//! Which policies can say anything about a question at all, by their first line.
//!
//! Owns the index by principal and resource, so that a question among a thousand policies is put to
//! the few whose scope it meets. It may give a policy too many, never one too few: the engine
//! evaluates what is given as it would among all.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use super::Action;

/// What a scope asks for, apart from types: this entity or one below it, or anything.
type Bound = Option<EntityUid>;

/// The first line of a policy.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) principal: Bound,
    pub(super) resource: Bound,
    /// `None` for every action.
    actions: Option<HashSet<String>>,
}

impl Scope {
    pub(super) fn of(policy: &Policy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
            PrincipalConstraint::In(uid)
            | PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::IsIn(_, uid) => Some(uid),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
            ResourceConstraint::In(uid)
            | ResourceConstraint::Eq(uid)
            | ResourceConstraint::IsIn(_, uid) => Some(uid),
        };
        let name = |uid: &EntityUid| AsRef::<str>::as_ref(uid.id()).to_owned();
        // The schema has no groups of actions, so that `in` an action is that action.
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(uid) => Some(HashSet::from([name(&uid)])),
            ActionConstraint::In(uids) => Some(uids.iter().map(name).collect()),
        };
        Self {
            principal,
            resource,
            actions,
        }
    }

    /// Whether the policy says for which actions it is.
    pub(super) fn names_actions(&self) -> bool {
        self.actions.is_some()
    }

    /// Whether the policy can be about this action.
    pub(super) fn has_action(&self, action: Action) -> bool {
        self.actions
            .as_ref()
            .is_none_or(|actions| actions.contains(action.name()))
    }
}

/// Positions of policies by their scopes.
#[derive(Debug, Default)]
pub(super) struct Index {
    scopes: Vec<Scope>,
    /// What some scope is bound to, by a number: of a person's hundred groups, few are.
    bounds: HashMap<EntityUid, u32>,
    /// By principal and resource.
    by_bounds: HashMap<(u32, u32), Vec<usize>>,
}

impl Index {
    pub(super) fn push(&mut self, scope: Scope) {
        let at = self.scopes.len();
        let principal = self.number(scope.principal.as_ref());
        let resource = self.number(scope.resource.as_ref());
        let policies = self.by_bounds.entry((principal, resource)).or_default();
        policies.push(at);
        self.scopes.push(scope);
    }

    fn number(&mut self, bound: Option<&EntityUid>) -> u32 {
        let Some(uid) = bound else {
            return ANYTHING;
        };
        let next = u32::try_from(self.bounds.len()).map_or(u32::MAX, |last| last + 1);
        *self.bounds.entry(uid.clone()).or_insert(next)
    }

    /// The scope at this position.
    pub(super) fn scope(&self, at: usize) -> Option<&Scope> {
        self.scopes.get(at)
    }

    /// The positions of the policies to ask, in their order. `principal` and `resource` are the
    /// entities with everything that they are in.
    pub(super) fn find<'a>(
        &self,
        principal: impl IntoIterator<Item = &'a EntityUid>,
        resource: impl IntoIterator<Item = &'a EntityUid>,
        action: Action,
    ) -> Vec<usize> {
        let known = |uid: &EntityUid| self.bounds.get(uid).copied();
        let principals: Vec<u32> = std::iter::once(ANYTHING)
            .chain(principal.into_iter().filter_map(known))
            .collect();
        let mut found = BTreeSet::new();
        for resource in std::iter::once(ANYTHING).chain(resource.into_iter().filter_map(known)) {
            for principal in &principals {
                let at = self.by_bounds.get(&(*principal, resource));
                found.extend(at.into_iter().flatten().copied());
            }
        }
        found.retain(|at| {
            self.scopes
                .get(*at)
                .is_some_and(|scope| scope.has_action(action))
        });
        found.into_iter().collect()
    }
}

/// The number of a scope that is bound to nothing.
const ANYTHING: u32 = 0;
