//! Calls that compile and are wrong, and where they are right.

use std::path::Path;

use super::Problem;

/// A text that may occur only in some places.
struct Ban {
    text: &'static str,
    /// Paths (a file, or a folder and all below it) where it may occur.
    except: &'static [&'static str],
    /// Why, and what to do instead.
    message: &'static str,
}

const SDK: &str = "the SDK's calls panic on a status or on bytes that their author did not expect; \
                   go through filter-wasm/src/host.rs";
const CLOCK: &str = "time is an argument; only the clock files read it";
const CLOCKS: &[&str] = &[
    "bench/src/clock.rs",
    "control-plane/src/clock.rs",
    "filter-wasm/src/host.rs",
    "filter-wasm/src/abi.rs",
];

const BANS: &[Ban] = &[
    Ban {
        text: "hostcalls::",
        except: &["filter-wasm/src/host.rs"],
        message: SDK,
    },
    Ban {
        text: "get_http_",
        except: &[],
        message: SDK,
    },
    Ban {
        text: "set_http_",
        except: &[],
        message: SDK,
    },
    Ban {
        text: "add_http_",
        except: &[],
        message: SDK,
    },
    Ban {
        text: "send_http_",
        except: &[],
        message: SDK,
    },
    Ban {
        text: "dispatch_http_",
        except: &[],
        message: SDK,
    },
    Ban {
        text: "get_grpc_",
        except: &[],
        message: SDK,
    },
    Ban {
        text: ".get_property(",
        except: &[],
        message: SDK,
    },
    Ban {
        text: "AssertSqlSafe",
        except: &["control-plane/src/db"],
        message: "SQL is a constant; only control-plane/src/db may build it from parts",
    },
    Ban {
        text: "SystemTime::now",
        except: CLOCKS,
        message: CLOCK,
    },
    Ban {
        text: "Utc::now",
        except: CLOCKS,
        message: CLOCK,
    },
    Ban {
        text: "Timestamp::now",
        except: CLOCKS,
        message: CLOCK,
    },
    Ban {
        text: "Zoned::now",
        except: CLOCKS,
        message: CLOCK,
    },
    Ban {
        text: "get_current_time",
        except: CLOCKS,
        message: CLOCK,
    },
];

/// This file names what it bans.
const SELF: &str = "xtask/src/tidy/banned.rs";

pub(super) fn check(path: &Path, text: &str) -> Vec<Problem> {
    if path == Path::new(SELF) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for ban in BANS {
            if line.contains(ban.text) && !ban.except.iter().any(|place| path.starts_with(place)) {
                problems.push(Problem {
                    path: path.into(),
                    line: Some(number),
                    message: format!("`{}`: {}", ban.text.trim_end_matches('('), ban.message),
                });
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(Path::new(path), text).len()
    }

    #[test]
    fn a_call_of_the_sdk_that_can_panic_is_refused_with_its_line() {
        let text = "fn f() {\n    self.get_http_request_header_bytes(\"host\");\n}\n";
        let problems = check(Path::new("filter-wasm/src/host.rs"), text);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, Some(2));
        assert!(problems[0].message.contains("host.rs"));
    }

    #[test]
    fn only_the_host_file_asks_the_sdk_to_call_the_host() {
        let text = "hostcalls::open_grpc_stream(cluster)";
        assert_eq!(found("filter-wasm/src/host.rs", text), 0);
        assert_eq!(found("filter-wasm/src/sync.rs", text), 1);
    }

    #[test]
    fn a_comment_may_name_what_is_banned() {
        assert_eq!(
            found("crates/policy/src/limit.rs", "    // not SystemTime::now"),
            0
        );
    }

    #[test]
    fn only_the_clock_files_read_a_clock() {
        assert_eq!(found("control-plane/src/clock.rs", "SystemTime::now()"), 0);
        assert_eq!(found("control-plane/src/app.rs", "SystemTime::now()"), 1);
    }

    #[test]
    fn only_the_database_folder_builds_sql() {
        assert_eq!(
            found("control-plane/src/db/query.rs", "AssertSqlSafe(sql)"),
            0
        );
        assert_eq!(
            found("control-plane/src/database.rs", "AssertSqlSafe(sql)"),
            1
        );
        assert_eq!(
            found("control-plane/src/teams/store.rs", "AssertSqlSafe(sql)"),
            1
        );
    }
}
