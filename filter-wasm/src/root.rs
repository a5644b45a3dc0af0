//! The root context: which role this is, and its ticks.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};
use reeve_policy::lease::Want;

use crate::attempt::Attempt;
use crate::config::Config;
use crate::governance::{Governance, Terms};
use crate::sync::Sync;
use crate::{flights, host, limits, observed, shared, slots};

/// How often the stream's holder looks for usage to send and proves that it lives.
const SYNC_TICK: Duration = Duration::from_millis(50);
/// How often a worker looks after its leases, and whether the role has become free.
const WORKER_TICK: Duration = Duration::from_millis(100);
/// Questions about leases in one message.
const ASKS_PER_MESSAGE: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Sync,
    Governance,
    Attempt,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Root {
    /// Its number in this VM.
    context_id: u32,
    role: Option<Role>,
    sync: Option<Sync>,
    /// Questions about leases that are not answered, by the token of the call.
    asked: HashMap<u32, Vec<Want>>,
    /// [`shared::RECALLS`], as it was last seen.
    recalls: u64,
}

impl Root {
    pub(crate) fn new(context_id: u32) -> Self {
        Self {
            context_id,
            role: None,
            sync: None,
            asked: HashMap::new(),
            recalls: 0,
        }
    }

    fn terms(&self) -> Terms {
        self.sync.as_ref().map_or_else(
            // Not configured: no control plane, and none that could be heard.
            || Terms {
                policy_cluster: Rc::default(),
                max_silence_ms: 0,
                hold_headers: true,
            },
            Sync::terms,
        )
    }

    /// Gives back leases that are not needed, and says and asks what there is to say and ask.
    fn tend_leases(&mut self) {
        let recalls = shared::count(shared::RECALLS).unwrap_or(0);
        let look = std::mem::replace(&mut self.recalls, recalls) != recalls;
        let Some(sync) = &mut self.sync else {
            return;
        };
        let mut wants = sync.take_asking();
        wants.extend(limits::tick(look));
        for wants in wants.chunks(ASKS_PER_MESSAGE) {
            // What is not answered is said again.
            if let Some(token) = limits::ask(&sync.cluster(), wants) {
                self.asked.insert(token, wants.to_vec());
            }
        }
    }
}

impl Context for Root {
    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        if let Some(sync) = &mut self.sync {
            sync.on_message(token, size, host::now_ms());
        }
    }

    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        let Some(wants) = self.asked.remove(&token) else {
            if let Some(sync) = &mut self.sync {
                sync.on_renewed(token, status, size);
            }
            return;
        };
        if status == 0 {
            let bytes = host::buffer(BufferType::GrpcReceiveBuffer, size);
            if let Err(error) = limits::on_answer(&wants, &bytes, host::now_ms()) {
                host::error(&format!("an answer about leases is unusable: {error}"));
            }
        }
    }

    fn on_grpc_stream_close(&mut self, token: u32, status: u32) {
        if let Some(sync) = &mut self.sync {
            sync.on_close(token, status, host::now_ms());
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let root_id = host::property(&["plugin_root_id"]).unwrap_or_default();
        let role = match root_id.as_slice() {
            b"sync" => Role::Sync,
            b"governance" => Role::Governance,
            b"attempt" => Role::Attempt,
            _ => {
                host::error("root_id must be one of sync, governance, attempt");
                return false;
            }
        };
        self.role = Some(role);
        if role == Role::Attempt {
            return true;
        }
        let own_id = || host::property(&["xds", "node", "id"]);
        let config = match Config::parse(&host::plugin_configuration(size), own_id) {
            Ok(config) => config,
            Err(error) => {
                host::error(&error);
                return false;
            }
        };
        self.sync = Some(Sync::new(config, host::now_nanos(), role == Role::Sync));
        host::set_tick_period(if role == Role::Sync {
            SYNC_TICK
        } else {
            WORKER_TICK
        });
        true
    }

    fn on_tick(&mut self) {
        if self.role == Some(Role::Governance) {
            let is_known = flights::beat();
            slots::look(self.context_id, is_known);
            observed::tick();
        }
        if let Some(sync) = &mut self.sync
            && sync.tick(host::now_ms())
        {
            host::set_tick_period(SYNC_TICK);
        }
        self.tend_leases();
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        match self.role {
            Some(Role::Attempt) => Some(Box::new(Attempt::default())),
            // Without a role nothing was configured; judging is the safe thing to do.
            Some(Role::Governance | Role::Sync) | None => {
                Some(Box::new(Governance::new(context_id, self.terms())))
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
