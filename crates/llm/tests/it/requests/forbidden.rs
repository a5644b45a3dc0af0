//! R-32: what no caller may send, for it chooses another model or destination than was judged, or
//! names what another key has put at the provider.

use reeve_llm::{Endpoint, RequestError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{body_with, error_with, json_apis, read};

/// R-32, R-06
#[test]
fn members_that_choose_another_model_provider_or_destination_are_refused() {
    for endpoint in json_apis() {
        for field in [
            "api_base",
            "base_url",
            "api_key",
            "custom_llm_provider",
            "models",
            "route",
            "provider",
            "providerOptions",
            "preset",
            "extra_body",
        ] {
            for value in ["\"x\"", "null", "[]", "{\"model\":\"x\"}"] {
                let error = error_with(endpoint, &format!("\"{field}\":{value}"));
                assert_eq!(error, RequestError::Forbidden { field }, "{endpoint:?}");
                assert_eq!(error.field(), Some(field));
            }
        }
        for (disguise, field) in [
            ("apiBase", "api_base"),
            ("baseURL", "base_url"),
            ("API_KEY", "api_key"),
            ("Models", "models"),
            ("fall_backs", "fallbacks"),
            ("provider_options", "providerOptions"),
            ("extraBody", "extra_body"),
        ] {
            let error = error_with(endpoint, &format!("\"{disguise}\":1"));
            assert_eq!(error, RequestError::Ambiguous { field }, "{endpoint:?}");
        }
    }
    for config in ["generationConfig", "generation_config"] {
        for name in ["routingConfig", "routing_config"] {
            let member =
                format!("\"{config}\":{{\"{name}\":{{\"manualMode\":{{\"modelName\":\"x\"}}}}}}");
            assert_eq!(
                error_with(Endpoint::GenerateContent, &member),
                RequestError::Forbidden {
                    field: "routingConfig"
                }
            );
        }
    }
}

/// R-32
#[test]
fn a_tool_may_not_bring_a_model_of_its_own() {
    let field = "tools[].model";
    for endpoint in [
        Endpoint::Responses,
        Endpoint::Messages,
        Endpoint::ChatCompletions,
        Endpoint::CohereChat,
        Endpoint::GenerateContent,
        Endpoint::InvokeModel,
    ] {
        for name in [
            "model",
            "\\u006dodel",
            "Model",
            "MODEL",
            "mo_del",
            "model\\u200b",
            "model\\u0000",
            "\\uff4dmodel",
        ] {
            for members in [
                format!("\"tools\":[{{\"type\":\"image_generation\",\"{name}\":\"x\"}}]"),
                format!("\"tools\":[{{\"type\":\"f\"}},{{\"x\":{{\"y\":[]}},\"{name}\":null}}]"),
                format!("\"t\\u006fols\":[{{\"{name}\":{{}}}}]"),
            ] {
                let error = error_with(endpoint, &members);
                assert_eq!(error, RequestError::Forbidden { field }, "{members}");
            }
        }
        for allowed in [
            r#""tools":[{"type":"function","function":{"model":1,"parameters":{"properties":{"model":{}}}}}]"#,
            r#""tools":[{"name":"f","input_schema":{"properties":{"model":{"type":"string"}}}}]"#,
            r#""tools":[{"model_name":"x"}]"#,
            r#""tools":null"#,
            r#""x":[{"model":"y"}]"#,
        ] {
            let body = body_with(endpoint, allowed);
            assert!(read(endpoint, &body).is_ok(), "{allowed}");
        }
    }
}

/// R-32: what is kept at the provider belongs to all virtual keys together.
#[test]
fn ids_of_what_is_kept_at_the_provider_are_refused() {
    use Endpoint::*;
    for (endpoint, members, field) in [
        (
            Responses,
            r#""previous_response_id":"resp_1""#,
            "previous_response_id",
        ),
        (
            Responses,
            r#""conversation":{"id":"conv_1"}"#,
            "conversation",
        ),
        (Responses, r#""background":true"#, "background"),
        (
            Responses,
            r#""prompt":{"id":"pmpt_1","version":"2"}"#,
            "prompt",
        ),
        (
            Responses,
            r#""tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]"#,
            "tools[].vector_store_ids",
        ),
        (
            Responses,
            r#""tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["f"]}}]"#,
            "tools[].file_ids",
        ),
        (
            Responses,
            r#""input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]"#,
            "file_id",
        ),
        (
            Responses,
            r#""input":[{"type":"computer_call_output","output":{"f\u0069le_id":"f"}}]"#,
            "file_id",
        ),
        (
            Responses,
            r#""input":[{"role":"user","content":"x"},{"type":"item_reference","id":"msg_1"}]"#,
            "input[].id",
        ),
        (
            Responses,
            r#""input":[{"type":"item_reference","id":"msg_1"}]"#,
            "input[].id",
        ),
        (
            Responses,
            r#""input":[{"type":null,"id":"msg_1"}]"#,
            "input[].id",
        ),
        (
            ChatCompletions,
            r#""messages":[{"content":[{"type":"file","file":{"file_id":"f"}}]}]"#,
            "file_id",
        ),
        (
            Messages,
            r#""messages":[{"content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]"#,
            "file_id",
        ),
        (
            Messages,
            r#""messages":[{"content":[{"type":"container_upload","file_id":"f"}]}]"#,
            "file_id",
        ),
        (
            Messages,
            r#""messages":[{"content":[{"type":"tool_result","content":[{"source":{"file_id":"f"}}]}]}]"#,
            "file_id",
        ),
        (
            Converse,
            r#""messages":[{"content":[{"document":{"source":{"s3Location":{"uri":"s3://b/k"}}}}]}]"#,
            "s3Location",
        ),
        (
            InvokeModel,
            r#""messages":[{"content":[{"video":{"source":{"s3Location":{"uri":"s3://b/k"}}}}]}]"#,
            "s3Location",
        ),
        (
            GenerateContent,
            r#""tools":[{"fileSearch":{"fileSearchStoreNames":["fileSearchStores/1"]}}]"#,
            "tools[].fileSearchStoreNames",
        ),
        (
            StreamGenerateContent,
            r#""tools":[{"file_search":{"file_search_store_names":["fileSearchStores/1"]}}]"#,
            "tools[].fileSearchStoreNames",
        ),
        (
            GenerateContent,
            r#""contents":[{"parts":[{"fileData":{"fileUri":"https://x/v1beta/files/1"}}]}]"#,
            "fileData.fileUri",
        ),
        (
            EmbedContent,
            r#""content":{"parts":[{"file_data":{"file_uri":"gs://b/k"}}]}"#,
            "fileData.fileUri",
        ),
        (
            GenerateContent,
            r#""cachedContent":"cachedContents/1""#,
            "cachedContent",
        ),
        (
            CountTokens,
            r#""generateContentRequest":{"cached_content":"x"}"#,
            "cachedContent",
        ),
    ] {
        let error = error_with(endpoint, members);
        assert_eq!(error, RequestError::StoredObject { field }, "{members}");
        assert_eq!(error.field(), Some(field));
    }
}

/// What callers name themselves may have any name.
#[test]
fn a_name_of_the_callers_own_is_not_taken_for_an_id() {
    use Endpoint::*;
    for (endpoint, members) in [
        (
            Messages,
            r#""messages":[{"content":[{"type":"tool_use","input":{"file_id":"f","model":"x"}}]}]"#,
        ),
        (
            Messages,
            r#""tools":[{"name":"f","input_schema":{"properties":{"file_id":{},"file_ids":{}}}}]"#,
        ),
        (
            ChatCompletions,
            r#""tools":[{"function":{"parameters":{"properties":{"file_ids":{},"model":{}}}}}]"#,
        ),
        (
            Responses,
            r#""tools":[{"type":"function","parameters":{"properties":{"vector_store_ids":{}}}}]"#,
        ),
        (
            Responses,
            r#""input":[{"type":"mcp_list_tools","tools":[{"input_schema":{"properties":{"file_id":{}}}}]}]"#,
        ),
        (
            Responses,
            r#""metadata":{"file_id":"f","conversation":"c"}"#,
        ),
        // An answer that is sent back whole, and a text about references.
        (
            Responses,
            r#""input":[{"id":"msg_1","type":"message","role":"assistant","content":[{"type":
               "output_text","text":"é item_reference"}]},{"id":"m","role":"user","content":"x"}]"#,
        ),
        (
            ImageGenerations,
            r#""prompt":"a cat","background":"transparent""#,
        ),
        (Completions, r#""prompt":"p","background":7"#),
        (CohereChat, r#""messages":[{"content":[{"file_id":"f"}]}]"#),
        (
            Converse,
            r#""messages":[{"content":[{"toolUse":{"input":{"s3Location":"x","file_id":"f"}}}]}]"#,
        ),
    ] {
        let body = body_with(endpoint, members);
        assert!(read(endpoint, &body).is_ok(), "{members}");
    }
}
