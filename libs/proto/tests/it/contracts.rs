//! What the real contracts became.

use prost::Name;
use proto::access::{RPCS, access, rpc};
use proto::codec::{Programs, check};
use proto::common::Role;
use proto::directory::{CreateApiKeyRequest, CreateProgramRequest, GetProgramRequest, ListProgramsRequest, RevokeApiKeyRequest};
use proto::members::Identity;
use proto::members::identity::Value;
use tonic::Code;
use tonic_types::StatusExt;

use super::good;
use super::trials::try_request::Choice;

#[test]
fn every_rpc_of_the_contracts_is_in_the_table_with_roles() {
    let mut paths = Vec::new();
    for service in proto::descriptor_pool().services() {
        paths.extend(service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name())));
    }
    paths.sort();
    assert_eq!(RPCS.iter().map(|rpc| rpc.path).collect::<Vec<_>>(), paths);
    for row in RPCS {
        assert!(!row.roles.is_empty() && !row.roles.contains(&Role::Unspecified), "{}", row.path);
        assert_eq!(rpc(row.path), Some(row));
    }
}

#[test]
fn roles_are_found_by_path() {
    assert_eq!(access("/regulars.directory.v1.DirectoryService/CreateProgram"), Some(&[Role::Administrator][..]));
    assert_eq!(access("/regulars.directory.v1.DirectoryService/createProgram"), None);
    assert_eq!(access("/grpc.health.v1.Health/Check"), None);
    assert_eq!(access(""), None);
    let subscribe = rpc("/regulars.events.v1.EventFeedService/Subscribe").unwrap();
    assert_eq!(
        (subscribe.input, subscribe.output, subscribe.client_streaming, subscribe.server_streaming),
        ("regulars.events.v1.SubscribeRequest", "regulars.events.v1.SubscribeResponse", false, true)
    );
}

#[test]
fn the_descriptor_set_keeps_options_and_comments() {
    let pool = proto::descriptor_pool();
    let request = pool.get_message_by_name(&GetProgramRequest::full_name()).unwrap();
    let resource = pool.get_extension_by_name("regulars.common.v1.resource").unwrap();
    let options = request.get_field_by_name("name").unwrap().options();
    assert_eq!(options.get_extension(&resource).as_str(), Some("programs/{program}"));
    let file = request.parent_file();
    let comments = &file.file_descriptor_proto().source_code_info.as_ref().unwrap().location;
    assert!(comments.iter().any(|location| location.leading_comments() == " Request of GetProgram.\n"));
}

#[test]
fn real_requests_obey_their_contracts() {
    let create = CreateProgramRequest {
        program_id: "tea".into(),
        display_name: "茶".into(),
        time_zone: "Asia/Shanghai".into(),
        currency_code: "CNY".into(),
        request_id: "r1".into(),
    };
    check(&create, &Programs::All).unwrap();
    let status = check(&CreateProgramRequest { program_id: "Tea".into(), ..create }, &Programs::All).unwrap_err();
    assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, "program_id");

    let tea = Programs::Only(["tea".to_owned()].into());
    check(&ListProgramsRequest::default(), &tea).unwrap();
    check(&GetProgramRequest { name: "programs/tea".into() }, &tea).unwrap();
    let code = |name: &str| check(&GetProgramRequest { name: name.into() }, &tea).unwrap_err().code();
    assert_eq!(
        [code("programs/coffee"), code("programs/"), code("")],
        [Code::PermissionDenied, Code::InvalidArgument, Code::InvalidArgument]
    );
    // The name of a key lies in no program.
    check(&RevokeApiKeyRequest { name: "apiKeys/k".into(), request_id: "r".into() }, &tea).unwrap();
}

#[test]
fn a_key_is_made_for_several_programs_by_who_may_touch_all_of_them() {
    let request = CreateApiKeyRequest {
        display_name: "till".into(),
        role: Role::Platform.into(),
        programs: vec!["programs/tea".into(), "programs/coffee".into()],
        request_id: "r".into(),
        ..Default::default()
    };
    check(&request, &Programs::All).unwrap();
    let status = check(&request, &Programs::Only(["tea".to_owned()].into())).unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "PROGRAM_NOT_ADMITTED");
}

#[test]
fn personal_data_is_not_printed() {
    let mut request = good();
    request.phone = "+8613812345678".into();
    request.choice = Some(Choice::Nickname("Piglet".into()));
    let text = format!("{request:?}");
    assert!(
        text.contains(r#"title: "title""#) && text.contains("phone: (personal)") && text.contains("choice: Some(Nickname((personal)))"),
        "{text}"
    );
    assert!(!text.contains("138") && !text.contains("Piglet"), "{text}");
    request.choice = Some(Choice::ShoeSize(38));
    assert!(format!("{request:?}").contains("choice: Some(ShoeSize(38))"));

    let identity = Identity { value: Some(Value::Phone("+8613812345678".into())), ..Default::default() };
    assert!(!format!("{identity:?}").contains("138"));
}
