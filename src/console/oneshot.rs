//! Words of a shell's command line, put together into a line of the console: what the shell took the quotes from
//! gets them back.
use config::script::export::quote;

/// `["ip", "ipsec", "peer", "add", "comment=two words"]` → `ip ipsec peer add comment="two words"`.
pub fn line(words: &[String]) -> String {
    let mut out = String::new();
    // Brackets that are open in what has been written.
    let mut open = 0_usize;
    for word in words {
        if !out.is_empty() {
            out.push(' ');
        }
        let start = out.len();
        put(word, words.len() == 1, open > 0, &mut out);
        let written = out.get(start..).unwrap_or_default();
        if !written.contains('"') {
            open = (open + written.matches(['[', '(']).count())
                .saturating_sub(written.matches([']', ')']).count());
        }
    }
    out
}
fn put(word: &str, alone: bool, within: bool, out: &mut String) {
    let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(word.len());
    let (name, rest) = word.split_at(end);
    let operators = ["!=", "<=", ">=", "=", "~", "<", ">"];
    let named = operators.iter().find_map(|operator| Some((*operator, rest.strip_prefix(operator)?)));
    let (operator, value) = match named {
        Some(named) if !name.is_empty() => named,
        // A line in one word, a path, an item, something in brackets: as it is written.
        _ if alone || word.is_empty() || !word.contains([' ', '\t', '\n', ';', '"', '#']) => {
            return out.push_str(word);
        }
        _ if word.starts_with(['[', '(', '{', '"']) || within => return out.push_str(word),
        _ => return quote(word, out),
    };
    // Written for the console already, or with a bracket that was opened before.
    let brackets = value.len() - value.trim_end_matches([']', ')']).len();
    let (inner, closing) = if within { value.split_at(value.len() - brackets) } else { (value, "") };
    if alone || value.starts_with(['[', '(', '{']) || is_quoted(inner) {
        return out.push_str(word);
    }
    out.push_str(name);
    out.push_str(operator);
    quote(inner, out);
    out.push_str(closing);
}
fn is_quoted(value: &str) -> bool {
    value.len() > 1 && value.starts_with('"') && value.ends_with('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_become_a_line() {
        for (words, wanted) in [
            (&["ip", "ipsec", "peer", "print"][..], "ip ipsec peer print"),
            (&["/ip/ipsec/peer/print", "where", "name=a"], "/ip/ipsec/peer/print where name=a"),
            (&["ip", "pool", "add", "comment=two words"], "ip pool add comment=\"two words\""),
            (&["ip", "pool", "add", "name=a", "comment="], "ip pool add name=a comment=\"\""),
            (&["add", "secret=a\"b$c;d"], "add secret=\"a\\\"b\\$c;d\""),
            (&["add", "secret=\"kept\""], "add secret=\"kept\""),
            (&["set", "[find", "name=a]", "disabled=yes"], "set [find name=a] disabled=yes"),
            (&["set", "[find", "comment=a b]", "disabled=yes"], "set [find comment=\"a b\"] disabled=yes"),
            (&["set", "[find name=a]", "disabled=yes"], "set [find name=a] disabled=yes"),
            (&["print", "where", "name~^a|b"], "print where name~\"^a|b\""),
            (&["print", "where", "(a=1", "or", "b=2)"], "print where (a=1 or b=2)"),
            (&["print", "where", "(a=1 or b=2)"], "print where (a=1 or b=2)"),
            (&["print", "where", "uptime>1h"], "print where uptime>1h"),
            (&["ip ipsec peer print where name=\"a b\""], "ip ipsec peer print where name=\"a b\""),
            (&["comment", "0", "two words"], "comment 0 \"two words\""),
            (&["remove", "*1,*2"], "remove *1,*2"),
            (&["set", "0", "!comment"], "set 0 !comment"),
            (&["add", "comment=münchen"], "add comment=\"m\\C3\\BCnchen\""),
        ] {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(line(&words), wanted);
        }
    }
}
