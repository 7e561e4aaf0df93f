//! Choosing variables by patterns of their names.

/// Which variables of a checkpoint are opened.
///
/// In a pattern `*` stands for any characters (also `/`), `?` for one, `[abc]` and `[a-c]` for one
/// of these, `[!abc]` for one that is none of these.
#[derive(Debug, Clone, Default)]
pub struct Select {
    /// A variable must match one of these, if there are any.
    pub include: Option<Vec<String>>,
    /// A variable must match none of these.
    pub exclude: Vec<String>,
}

impl Select {
    pub(crate) fn takes(&self, name: &str) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, name));
        self.include.as_deref().is_none_or(matches) && !matches(&self.exclude)
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where to go on when the last `*` has to stand for one character more.
    let mut retry = None;
    while seen < name.len() {
        if pattern.get(at) == Some(&'*') {
            at += 1;
            retry = Some((at, seen));
        } else if let Some(next) = fits_one(&pattern, at, name[seen]) {
            (at, seen) = (next, seen + 1);
        } else if let Some((after_star, longer)) = retry.as_mut() {
            *longer += 1;
            (at, seen) = (*after_star, *longer);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&character| character == '*')
}

/// Where the pattern goes on, if its next part fits the character.
fn fits_one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => match set_end(pattern, at) {
            Some(end) => in_set(&pattern[at + 1..end], character).then_some(end + 1),
            // Without its end it is a character like any other.
            None => (character == '[').then_some(at + 1),
        },
        &other => (other == character).then_some(at + 1),
    }
}

/// Where the `]` of a set is; one at its very beginning belongs to the set.
fn set_end(pattern: &[char], at: usize) -> Option<usize> {
    let first = at + 1 + usize::from(pattern.get(at + 1) == Some(&'!'));
    let rest = pattern.get(first + 1..)?;
    rest.iter().position(|&character| character == ']').map(|index| first + 1 + index)
}

fn in_set(set: &[char], character: char) -> bool {
    let (negated, mut set) = match set {
        ['!', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    while let [first, rest @ ..] = set {
        (found, set) = match rest {
            ['-', last, rest @ ..] => (found || (*first..=*last).contains(&character), rest),
            _ => (found || *first == character, rest),
        };
    }
    found != negated
}
