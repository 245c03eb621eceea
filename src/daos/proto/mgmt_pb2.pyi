from daos.proto import shared_pb2 as _shared_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StorageMediaType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCM: _ClassVar[StorageMediaType]
    NVME: _ClassVar[StorageMediaType]

class PoolServiceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    Creating: _ClassVar[PoolServiceState]
    Ready: _ClassVar[PoolServiceState]
    Destroying: _ClassVar[PoolServiceState]
    TargetsExcluded: _ClassVar[PoolServiceState]
    Unknown: _ClassVar[PoolServiceState]
SCM: StorageMediaType
NVME: StorageMediaType
Creating: PoolServiceState
Ready: PoolServiceState
Destroying: PoolServiceState
TargetsExcluded: PoolServiceState
Unknown: PoolServiceState

class DaosResp(_message.Message):
    __slots__ = ("status", "problem")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    problem: str
    def __init__(self, status: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class GroupUpdateReq(_message.Message):
    __slots__ = ("map_version", "engines")
    class Engine(_message.Message):
        __slots__ = ("rank", "uri", "incarnation")
        RANK_FIELD_NUMBER: _ClassVar[int]
        URI_FIELD_NUMBER: _ClassVar[int]
        INCARNATION_FIELD_NUMBER: _ClassVar[int]
        rank: int
        uri: str
        incarnation: int
        def __init__(self, rank: _Optional[int] = ..., uri: _Optional[str] = ..., incarnation: _Optional[int] = ...) -> None: ...
    MAP_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    map_version: int
    engines: _containers.RepeatedCompositeFieldContainer[GroupUpdateReq.Engine]
    def __init__(self, map_version: _Optional[int] = ..., engines: _Optional[_Iterable[_Union[GroupUpdateReq.Engine, _Mapping]]] = ...) -> None: ...

class GroupUpdateResp(_message.Message):
    __slots__ = ("status", "problem")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    problem: str
    def __init__(self, status: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class SetRankReq(_message.Message):
    __slots__ = ("rank", "map_version", "daos_version", "key")
    RANK_FIELD_NUMBER: _ClassVar[int]
    MAP_VERSION_FIELD_NUMBER: _ClassVar[int]
    DAOS_VERSION_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    rank: int
    map_version: int
    daos_version: int
    key: bytes
    def __init__(self, rank: _Optional[int] = ..., map_version: _Optional[int] = ..., daos_version: _Optional[int] = ..., key: _Optional[bytes] = ...) -> None: ...

class PingRankReq(_message.Message):
    __slots__ = ("rank",)
    RANK_FIELD_NUMBER: _ClassVar[int]
    rank: int
    def __init__(self, rank: _Optional[int] = ...) -> None: ...

class PrepShutdownReq(_message.Message):
    __slots__ = ("rank",)
    RANK_FIELD_NUMBER: _ClassVar[int]
    rank: int
    def __init__(self, rank: _Optional[int] = ...) -> None: ...

class SetUpReq(_message.Message):
    __slots__ = ("members",)
    class Member(_message.Message):
        __slots__ = ("rank", "host", "targets")
        RANK_FIELD_NUMBER: _ClassVar[int]
        HOST_FIELD_NUMBER: _ClassVar[int]
        TARGETS_FIELD_NUMBER: _ClassVar[int]
        rank: int
        host: str
        targets: int
        def __init__(self, rank: _Optional[int] = ..., host: _Optional[str] = ..., targets: _Optional[int] = ...) -> None: ...
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[SetUpReq.Member]
    def __init__(self, members: _Optional[_Iterable[_Union[SetUpReq.Member, _Mapping]]] = ...) -> None: ...

class ClientNetHint(_message.Message):
    __slots__ = ("provider", "interface", "domain", "crt_timeout", "net_dev_class", "srv_srx_set", "env_vars", "provider_idx")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    CRT_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    NET_DEV_CLASS_FIELD_NUMBER: _ClassVar[int]
    SRV_SRX_SET_FIELD_NUMBER: _ClassVar[int]
    ENV_VARS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_IDX_FIELD_NUMBER: _ClassVar[int]
    provider: str
    interface: str
    domain: str
    crt_timeout: int
    net_dev_class: int
    srv_srx_set: int
    env_vars: _containers.RepeatedScalarFieldContainer[str]
    provider_idx: int
    def __init__(self, provider: _Optional[str] = ..., interface: _Optional[str] = ..., domain: _Optional[str] = ..., crt_timeout: _Optional[int] = ..., net_dev_class: _Optional[int] = ..., srv_srx_set: _Optional[int] = ..., env_vars: _Optional[_Iterable[str]] = ..., provider_idx: _Optional[int] = ...) -> None: ...

class BuildInfo(_message.Message):
    __slots__ = ("major", "minor", "patch", "tag")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    major: int
    minor: int
    patch: int
    tag: str
    def __init__(self, major: _Optional[int] = ..., minor: _Optional[int] = ..., patch: _Optional[int] = ..., tag: _Optional[str] = ...) -> None: ...

class GetAttachInfoReq(_message.Message):
    __slots__ = ("sys", "all_ranks", "interface", "domain")
    SYS_FIELD_NUMBER: _ClassVar[int]
    ALL_RANKS_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    sys: str
    all_ranks: bool
    interface: str
    domain: str
    def __init__(self, sys: _Optional[str] = ..., all_ranks: bool = ..., interface: _Optional[str] = ..., domain: _Optional[str] = ...) -> None: ...

class GetAttachInfoResp(_message.Message):
    __slots__ = ("status", "rank_uris", "ms_ranks", "client_net_hint", "data_version", "sys", "build_info")
    class RankUri(_message.Message):
        __slots__ = ("rank", "uri", "provider_idx", "num_ctxs")
        RANK_FIELD_NUMBER: _ClassVar[int]
        URI_FIELD_NUMBER: _ClassVar[int]
        PROVIDER_IDX_FIELD_NUMBER: _ClassVar[int]
        NUM_CTXS_FIELD_NUMBER: _ClassVar[int]
        rank: int
        uri: str
        provider_idx: int
        num_ctxs: int
        def __init__(self, rank: _Optional[int] = ..., uri: _Optional[str] = ..., provider_idx: _Optional[int] = ..., num_ctxs: _Optional[int] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RANK_URIS_FIELD_NUMBER: _ClassVar[int]
    MS_RANKS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NET_HINT_FIELD_NUMBER: _ClassVar[int]
    DATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SYS_FIELD_NUMBER: _ClassVar[int]
    BUILD_INFO_FIELD_NUMBER: _ClassVar[int]
    status: int
    rank_uris: _containers.RepeatedCompositeFieldContainer[GetAttachInfoResp.RankUri]
    ms_ranks: _containers.RepeatedScalarFieldContainer[int]
    client_net_hint: ClientNetHint
    data_version: int
    sys: str
    build_info: BuildInfo
    def __init__(self, status: _Optional[int] = ..., rank_uris: _Optional[_Iterable[_Union[GetAttachInfoResp.RankUri, _Mapping]]] = ..., ms_ranks: _Optional[_Iterable[int]] = ..., client_net_hint: _Optional[_Union[ClientNetHint, _Mapping]] = ..., data_version: _Optional[int] = ..., sys: _Optional[str] = ..., build_info: _Optional[_Union[BuildInfo, _Mapping]] = ...) -> None: ...

class PoolMonitorReq(_message.Message):
    __slots__ = ("sys", "poolUUID", "poolHandleUUID", "jobid")
    SYS_FIELD_NUMBER: _ClassVar[int]
    POOLUUID_FIELD_NUMBER: _ClassVar[int]
    POOLHANDLEUUID_FIELD_NUMBER: _ClassVar[int]
    JOBID_FIELD_NUMBER: _ClassVar[int]
    sys: str
    poolUUID: str
    poolHandleUUID: str
    jobid: str
    def __init__(self, sys: _Optional[str] = ..., poolUUID: _Optional[str] = ..., poolHandleUUID: _Optional[str] = ..., jobid: _Optional[str] = ...) -> None: ...

class LeaderQueryReq(_message.Message):
    __slots__ = ("sys", "hosts")
    SYS_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    hosts: str
    def __init__(self, sys: _Optional[str] = ..., hosts: _Optional[str] = ...) -> None: ...

class LeaderQueryResp(_message.Message):
    __slots__ = ("current_leader", "replicas", "DownReplicas")
    CURRENT_LEADER_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    DOWNREPLICAS_FIELD_NUMBER: _ClassVar[int]
    current_leader: str
    replicas: _containers.RepeatedScalarFieldContainer[str]
    DownReplicas: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, current_leader: _Optional[str] = ..., replicas: _Optional[_Iterable[str]] = ..., DownReplicas: _Optional[_Iterable[str]] = ...) -> None: ...

class SystemMember(_message.Message):
    __slots__ = ("addr", "uuid", "rank", "incarnation", "state", "fabric_uri", "fabric_contexts", "info", "fault_domain", "last_update", "secondary_fabric_uris")
    ADDR_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FABRIC_URI_FIELD_NUMBER: _ClassVar[int]
    FABRIC_CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    FAULT_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATE_FIELD_NUMBER: _ClassVar[int]
    SECONDARY_FABRIC_URIS_FIELD_NUMBER: _ClassVar[int]
    addr: str
    uuid: str
    rank: int
    incarnation: int
    state: str
    fabric_uri: str
    fabric_contexts: int
    info: str
    fault_domain: str
    last_update: str
    secondary_fabric_uris: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, addr: _Optional[str] = ..., uuid: _Optional[str] = ..., rank: _Optional[int] = ..., incarnation: _Optional[int] = ..., state: _Optional[str] = ..., fabric_uri: _Optional[str] = ..., fabric_contexts: _Optional[int] = ..., info: _Optional[str] = ..., fault_domain: _Optional[str] = ..., last_update: _Optional[str] = ..., secondary_fabric_uris: _Optional[_Iterable[str]] = ...) -> None: ...

class SystemQueryReq(_message.Message):
    __slots__ = ("sys", "ranks", "hosts", "state_mask")
    SYS_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    STATE_MASK_FIELD_NUMBER: _ClassVar[int]
    sys: str
    ranks: str
    hosts: str
    state_mask: int
    def __init__(self, sys: _Optional[str] = ..., ranks: _Optional[str] = ..., hosts: _Optional[str] = ..., state_mask: _Optional[int] = ...) -> None: ...

class SystemQueryResp(_message.Message):
    __slots__ = ("members", "absentranks", "absenthosts", "data_version", "providers", "sys_self_heal_policy")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ABSENTRANKS_FIELD_NUMBER: _ClassVar[int]
    ABSENTHOSTS_FIELD_NUMBER: _ClassVar[int]
    DATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    SYS_SELF_HEAL_POLICY_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[SystemMember]
    absentranks: str
    absenthosts: str
    data_version: int
    providers: _containers.RepeatedScalarFieldContainer[str]
    sys_self_heal_policy: str
    def __init__(self, members: _Optional[_Iterable[_Union[SystemMember, _Mapping]]] = ..., absentranks: _Optional[str] = ..., absenthosts: _Optional[str] = ..., data_version: _Optional[int] = ..., providers: _Optional[_Iterable[str]] = ..., sys_self_heal_policy: _Optional[str] = ...) -> None: ...

class SystemStopReq(_message.Message):
    __slots__ = ("sys", "prep", "kill", "force", "ranks", "hosts", "ignore_admin_excluded")
    SYS_FIELD_NUMBER: _ClassVar[int]
    PREP_FIELD_NUMBER: _ClassVar[int]
    KILL_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    IGNORE_ADMIN_EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    sys: str
    prep: bool
    kill: bool
    force: bool
    ranks: str
    hosts: str
    ignore_admin_excluded: bool
    def __init__(self, sys: _Optional[str] = ..., prep: bool = ..., kill: bool = ..., force: bool = ..., ranks: _Optional[str] = ..., hosts: _Optional[str] = ..., ignore_admin_excluded: bool = ...) -> None: ...

class SystemStopResp(_message.Message):
    __slots__ = ("results", "absentranks", "absenthosts")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    ABSENTRANKS_FIELD_NUMBER: _ClassVar[int]
    ABSENTHOSTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_shared_pb2.RankResult]
    absentranks: str
    absenthosts: str
    def __init__(self, results: _Optional[_Iterable[_Union[_shared_pb2.RankResult, _Mapping]]] = ..., absentranks: _Optional[str] = ..., absenthosts: _Optional[str] = ...) -> None: ...

class SystemStartReq(_message.Message):
    __slots__ = ("sys", "ranks", "hosts", "check_mode", "ignore_admin_excluded")
    SYS_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    CHECK_MODE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_ADMIN_EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    sys: str
    ranks: str
    hosts: str
    check_mode: bool
    ignore_admin_excluded: bool
    def __init__(self, sys: _Optional[str] = ..., ranks: _Optional[str] = ..., hosts: _Optional[str] = ..., check_mode: bool = ..., ignore_admin_excluded: bool = ...) -> None: ...

class SystemStartResp(_message.Message):
    __slots__ = ("results", "absentranks", "absenthosts")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    ABSENTRANKS_FIELD_NUMBER: _ClassVar[int]
    ABSENTHOSTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_shared_pb2.RankResult]
    absentranks: str
    absenthosts: str
    def __init__(self, results: _Optional[_Iterable[_Union[_shared_pb2.RankResult, _Mapping]]] = ..., absentranks: _Optional[str] = ..., absenthosts: _Optional[str] = ...) -> None: ...

class SystemEraseReq(_message.Message):
    __slots__ = ("sys",)
    SYS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    def __init__(self, sys: _Optional[str] = ...) -> None: ...

class SystemEraseResp(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_shared_pb2.RankResult]
    def __init__(self, results: _Optional[_Iterable[_Union[_shared_pb2.RankResult, _Mapping]]] = ...) -> None: ...

class SystemCleanupReq(_message.Message):
    __slots__ = ("sys", "machine")
    SYS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    sys: str
    machine: str
    def __init__(self, sys: _Optional[str] = ..., machine: _Optional[str] = ...) -> None: ...

class SystemCleanupResp(_message.Message):
    __slots__ = ("results",)
    class CleanupResult(_message.Message):
        __slots__ = ("status", "msg", "pool_id", "count")
        STATUS_FIELD_NUMBER: _ClassVar[int]
        MSG_FIELD_NUMBER: _ClassVar[int]
        POOL_ID_FIELD_NUMBER: _ClassVar[int]
        COUNT_FIELD_NUMBER: _ClassVar[int]
        status: int
        msg: str
        pool_id: str
        count: int
        def __init__(self, status: _Optional[int] = ..., msg: _Optional[str] = ..., pool_id: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SystemCleanupResp.CleanupResult]
    def __init__(self, results: _Optional[_Iterable[_Union[SystemCleanupResp.CleanupResult, _Mapping]]] = ...) -> None: ...

class SystemSetAttrReq(_message.Message):
    __slots__ = ("sys", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SYS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    sys: str
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, sys: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SystemGetAttrReq(_message.Message):
    __slots__ = ("sys", "keys")
    SYS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sys: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ...) -> None: ...

class SystemGetAttrResp(_message.Message):
    __slots__ = ("attributes",)
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SystemSetPropReq(_message.Message):
    __slots__ = ("sys", "properties")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SYS_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    sys: str
    properties: _containers.ScalarMap[str, str]
    def __init__(self, sys: _Optional[str] = ..., properties: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SystemGetPropReq(_message.Message):
    __slots__ = ("sys", "keys")
    SYS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sys: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ...) -> None: ...

class SystemGetPropResp(_message.Message):
    __slots__ = ("properties",)
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    properties: _containers.ScalarMap[str, str]
    def __init__(self, properties: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PoolProperty(_message.Message):
    __slots__ = ("number", "strval", "numval", "byteval")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STRVAL_FIELD_NUMBER: _ClassVar[int]
    NUMVAL_FIELD_NUMBER: _ClassVar[int]
    BYTEVAL_FIELD_NUMBER: _ClassVar[int]
    number: int
    strval: str
    numval: int
    byteval: bytes
    def __init__(self, number: _Optional[int] = ..., strval: _Optional[str] = ..., numval: _Optional[int] = ..., byteval: _Optional[bytes] = ...) -> None: ...

class PoolCreateReq(_message.Message):
    __slots__ = ("uuid", "sys", "user", "user_group", "acl", "properties", "fault_domains", "num_svc_reps", "total_bytes", "tier_ratio", "num_ranks", "ranks", "tier_bytes", "mem_ratio")
    UUID_FIELD_NUMBER: _ClassVar[int]
    SYS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    USER_GROUP_FIELD_NUMBER: _ClassVar[int]
    ACL_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    FAULT_DOMAINS_FIELD_NUMBER: _ClassVar[int]
    NUM_SVC_REPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    TIER_RATIO_FIELD_NUMBER: _ClassVar[int]
    NUM_RANKS_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    TIER_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEM_RATIO_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    sys: str
    user: str
    user_group: str
    acl: _containers.RepeatedScalarFieldContainer[str]
    properties: _containers.RepeatedCompositeFieldContainer[PoolProperty]
    fault_domains: _containers.RepeatedScalarFieldContainer[int]
    num_svc_reps: int
    total_bytes: int
    tier_ratio: _containers.RepeatedScalarFieldContainer[float]
    num_ranks: int
    ranks: _containers.RepeatedScalarFieldContainer[int]
    tier_bytes: _containers.RepeatedScalarFieldContainer[int]
    mem_ratio: float
    def __init__(self, uuid: _Optional[str] = ..., sys: _Optional[str] = ..., user: _Optional[str] = ..., user_group: _Optional[str] = ..., acl: _Optional[_Iterable[str]] = ..., properties: _Optional[_Iterable[_Union[PoolProperty, _Mapping]]] = ..., fault_domains: _Optional[_Iterable[int]] = ..., num_svc_reps: _Optional[int] = ..., total_bytes: _Optional[int] = ..., tier_ratio: _Optional[_Iterable[float]] = ..., num_ranks: _Optional[int] = ..., ranks: _Optional[_Iterable[int]] = ..., tier_bytes: _Optional[_Iterable[int]] = ..., mem_ratio: _Optional[float] = ...) -> None: ...

class PoolCreateResp(_message.Message):
    __slots__ = ("status", "svc_ldr", "svc_reps", "tgt_ranks", "tier_bytes", "mem_file_bytes", "md_on_ssd_active", "problem")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SVC_LDR_FIELD_NUMBER: _ClassVar[int]
    SVC_REPS_FIELD_NUMBER: _ClassVar[int]
    TGT_RANKS_FIELD_NUMBER: _ClassVar[int]
    TIER_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEM_FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MD_ON_SSD_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    svc_ldr: int
    svc_reps: _containers.RepeatedScalarFieldContainer[int]
    tgt_ranks: _containers.RepeatedScalarFieldContainer[int]
    tier_bytes: _containers.RepeatedScalarFieldContainer[int]
    mem_file_bytes: int
    md_on_ssd_active: bool
    problem: str
    def __init__(self, status: _Optional[int] = ..., svc_ldr: _Optional[int] = ..., svc_reps: _Optional[_Iterable[int]] = ..., tgt_ranks: _Optional[_Iterable[int]] = ..., tier_bytes: _Optional[_Iterable[int]] = ..., mem_file_bytes: _Optional[int] = ..., md_on_ssd_active: bool = ..., problem: _Optional[str] = ...) -> None: ...

class PoolDestroyReq(_message.Message):
    __slots__ = ("sys", "id", "force", "svc_ranks", "recursive")
    SYS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    SVC_RANKS_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    sys: str
    id: str
    force: bool
    svc_ranks: _containers.RepeatedScalarFieldContainer[int]
    recursive: bool
    def __init__(self, sys: _Optional[str] = ..., id: _Optional[str] = ..., force: bool = ..., svc_ranks: _Optional[_Iterable[int]] = ..., recursive: bool = ...) -> None: ...

class PoolDestroyResp(_message.Message):
    __slots__ = ("status", "problem")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    problem: str
    def __init__(self, status: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class PoolEvictReq(_message.Message):
    __slots__ = ("sys", "id", "svc_ranks", "handles", "destroy", "force_destroy", "machine")
    SYS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SVC_RANKS_FIELD_NUMBER: _ClassVar[int]
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    DESTROY_FIELD_NUMBER: _ClassVar[int]
    FORCE_DESTROY_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    sys: str
    id: str
    svc_ranks: _containers.RepeatedScalarFieldContainer[int]
    handles: _containers.RepeatedScalarFieldContainer[str]
    destroy: bool
    force_destroy: bool
    machine: str
    def __init__(self, sys: _Optional[str] = ..., id: _Optional[str] = ..., svc_ranks: _Optional[_Iterable[int]] = ..., handles: _Optional[_Iterable[str]] = ..., destroy: bool = ..., force_destroy: bool = ..., machine: _Optional[str] = ...) -> None: ...

class PoolEvictResp(_message.Message):
    __slots__ = ("status", "count", "problem")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    count: int
    problem: str
    def __init__(self, status: _Optional[int] = ..., count: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class ListPoolsReq(_message.Message):
    __slots__ = ("sys",)
    SYS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    def __init__(self, sys: _Optional[str] = ...) -> None: ...

class ListPoolsResp(_message.Message):
    __slots__ = ("status", "pools", "data_version", "problem")
    class Pool(_message.Message):
        __slots__ = ("uuid", "label", "svc_reps", "state", "rebuild_state")
        UUID_FIELD_NUMBER: _ClassVar[int]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        SVC_REPS_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        REBUILD_STATE_FIELD_NUMBER: _ClassVar[int]
        uuid: str
        label: str
        svc_reps: _containers.RepeatedScalarFieldContainer[int]
        state: str
        rebuild_state: str
        def __init__(self, uuid: _Optional[str] = ..., label: _Optional[str] = ..., svc_reps: _Optional[_Iterable[int]] = ..., state: _Optional[str] = ..., rebuild_state: _Optional[str] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    DATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    pools: _containers.RepeatedCompositeFieldContainer[ListPoolsResp.Pool]
    data_version: int
    problem: str
    def __init__(self, status: _Optional[int] = ..., pools: _Optional[_Iterable[_Union[ListPoolsResp.Pool, _Mapping]]] = ..., data_version: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class ListContReq(_message.Message):
    __slots__ = ("sys", "id", "svc_ranks")
    SYS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SVC_RANKS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    id: str
    svc_ranks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sys: _Optional[str] = ..., id: _Optional[str] = ..., svc_ranks: _Optional[_Iterable[int]] = ...) -> None: ...

class ListContResp(_message.Message):
    __slots__ = ("status", "containers", "problem")
    class Cont(_message.Message):
        __slots__ = ("uuid",)
        UUID_FIELD_NUMBER: _ClassVar[int]
        uuid: str
        def __init__(self, uuid: _Optional[str] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    containers: _containers.RepeatedCompositeFieldContainer[ListContResp.Cont]
    problem: str
    def __init__(self, status: _Optional[int] = ..., containers: _Optional[_Iterable[_Union[ListContResp.Cont, _Mapping]]] = ..., problem: _Optional[str] = ...) -> None: ...

class StorageUsageStats(_message.Message):
    __slots__ = ("total", "free", "min", "max", "mean", "media_type")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    total: int
    free: int
    min: int
    max: int
    mean: int
    media_type: StorageMediaType
    def __init__(self, total: _Optional[int] = ..., free: _Optional[int] = ..., min: _Optional[int] = ..., max: _Optional[int] = ..., mean: _Optional[int] = ..., media_type: _Optional[_Union[StorageMediaType, str]] = ...) -> None: ...

class PoolRebuildStatus(_message.Message):
    __slots__ = ("status", "state", "objects", "records", "derived_state", "degraded")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        BUSY: _ClassVar[PoolRebuildStatus.State]
        IDLE: _ClassVar[PoolRebuildStatus.State]
        DONE: _ClassVar[PoolRebuildStatus.State]
        STOPPING: _ClassVar[PoolRebuildStatus.State]
        STOPPED: _ClassVar[PoolRebuildStatus.State]
        FAILING: _ClassVar[PoolRebuildStatus.State]
        FAILED: _ClassVar[PoolRebuildStatus.State]
    BUSY: PoolRebuildStatus.State
    IDLE: PoolRebuildStatus.State
    DONE: PoolRebuildStatus.State
    STOPPING: PoolRebuildStatus.State
    STOPPED: PoolRebuildStatus.State
    FAILING: PoolRebuildStatus.State
    FAILED: PoolRebuildStatus.State
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    DERIVED_STATE_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    status: int
    state: PoolRebuildStatus.State
    objects: int
    records: int
    derived_state: PoolRebuildStatus.State
    degraded: bool
    def __init__(self, status: _Optional[int] = ..., state: _Optional[_Union[PoolRebuildStatus.State, str]] = ..., objects: _Optional[int] = ..., records: _Optional[int] = ..., derived_state: _Optional[_Union[PoolRebuildStatus.State, str]] = ..., degraded: bool = ...) -> None: ...

class PoolQueryReq(_message.Message):
    __slots__ = ("sys", "id", "svc_ranks", "query_mask")
    SYS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SVC_RANKS_FIELD_NUMBER: _ClassVar[int]
    QUERY_MASK_FIELD_NUMBER: _ClassVar[int]
    sys: str
    id: str
    svc_ranks: _containers.RepeatedScalarFieldContainer[int]
    query_mask: int
    def __init__(self, sys: _Optional[str] = ..., id: _Optional[str] = ..., svc_ranks: _Optional[_Iterable[int]] = ..., query_mask: _Optional[int] = ...) -> None: ...

class PoolQueryResp(_message.Message):
    __slots__ = ("status", "uuid", "label", "total_targets", "active_targets", "disabled_targets", "rebuild", "tier_stats", "version", "leader", "enabled_ranks", "disabled_ranks", "total_engines", "pool_layout_ver", "upgrade_layout_ver", "state", "svc_ldr", "svc_reps", "query_mask", "mem_file_bytes", "dead_ranks", "md_on_ssd_active", "self_heal_policy", "sys_self_heal_policy", "problem")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TARGETS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_TARGETS_FIELD_NUMBER: _ClassVar[int]
    DISABLED_TARGETS_FIELD_NUMBER: _ClassVar[int]
    REBUILD_FIELD_NUMBER: _ClassVar[int]
    TIER_STATS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    ENABLED_RANKS_FIELD_NUMBER: _ClassVar[int]
    DISABLED_RANKS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ENGINES_FIELD_NUMBER: _ClassVar[int]
    POOL_LAYOUT_VER_FIELD_NUMBER: _ClassVar[int]
    UPGRADE_LAYOUT_VER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SVC_LDR_FIELD_NUMBER: _ClassVar[int]
    SVC_REPS_FIELD_NUMBER: _ClassVar[int]
    QUERY_MASK_FIELD_NUMBER: _ClassVar[int]
    MEM_FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEAD_RANKS_FIELD_NUMBER: _ClassVar[int]
    MD_ON_SSD_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    SELF_HEAL_POLICY_FIELD_NUMBER: _ClassVar[int]
    SYS_SELF_HEAL_POLICY_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    uuid: str
    label: str
    total_targets: int
    active_targets: int
    disabled_targets: int
    rebuild: PoolRebuildStatus
    tier_stats: _containers.RepeatedCompositeFieldContainer[StorageUsageStats]
    version: int
    leader: int
    enabled_ranks: str
    disabled_ranks: str
    total_engines: int
    pool_layout_ver: int
    upgrade_layout_ver: int
    state: PoolServiceState
    svc_ldr: int
    svc_reps: _containers.RepeatedScalarFieldContainer[int]
    query_mask: int
    mem_file_bytes: int
    dead_ranks: str
    md_on_ssd_active: bool
    self_heal_policy: str
    sys_self_heal_policy: str
    problem: str
    def __init__(self, status: _Optional[int] = ..., uuid: _Optional[str] = ..., label: _Optional[str] = ..., total_targets: _Optional[int] = ..., active_targets: _Optional[int] = ..., disabled_targets: _Optional[int] = ..., rebuild: _Optional[_Union[PoolRebuildStatus, _Mapping]] = ..., tier_stats: _Optional[_Iterable[_Union[StorageUsageStats, _Mapping]]] = ..., version: _Optional[int] = ..., leader: _Optional[int] = ..., enabled_ranks: _Optional[str] = ..., disabled_ranks: _Optional[str] = ..., total_engines: _Optional[int] = ..., pool_layout_ver: _Optional[int] = ..., upgrade_layout_ver: _Optional[int] = ..., state: _Optional[_Union[PoolServiceState, str]] = ..., svc_ldr: _Optional[int] = ..., svc_reps: _Optional[_Iterable[int]] = ..., query_mask: _Optional[int] = ..., mem_file_bytes: _Optional[int] = ..., dead_ranks: _Optional[str] = ..., md_on_ssd_active: bool = ..., self_heal_policy: _Optional[str] = ..., sys_self_heal_policy: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class StorageTargetUsage(_message.Message):
    __slots__ = ("total", "free", "media_type")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    total: int
    free: int
    media_type: StorageMediaType
    def __init__(self, total: _Optional[int] = ..., free: _Optional[int] = ..., media_type: _Optional[_Union[StorageMediaType, str]] = ...) -> None: ...

class PoolQueryTargetReq(_message.Message):
    __slots__ = ("sys", "id", "rank", "targets", "svc_ranks")
    SYS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    SVC_RANKS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    id: str
    rank: int
    targets: _containers.RepeatedScalarFieldContainer[int]
    svc_ranks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sys: _Optional[str] = ..., id: _Optional[str] = ..., rank: _Optional[int] = ..., targets: _Optional[_Iterable[int]] = ..., svc_ranks: _Optional[_Iterable[int]] = ...) -> None: ...

class PoolQueryTargetInfo(_message.Message):
    __slots__ = ("state", "space", "mem_file_bytes", "md_on_ssd_active")
    class TargetState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNKNOWN: _ClassVar[PoolQueryTargetInfo.TargetState]
        DOWN_OUT: _ClassVar[PoolQueryTargetInfo.TargetState]
        DOWN: _ClassVar[PoolQueryTargetInfo.TargetState]
        UP: _ClassVar[PoolQueryTargetInfo.TargetState]
        UP_IN: _ClassVar[PoolQueryTargetInfo.TargetState]
        NEW: _ClassVar[PoolQueryTargetInfo.TargetState]
        DRAIN: _ClassVar[PoolQueryTargetInfo.TargetState]
    STATE_UNKNOWN: PoolQueryTargetInfo.TargetState
    DOWN_OUT: PoolQueryTargetInfo.TargetState
    DOWN: PoolQueryTargetInfo.TargetState
    UP: PoolQueryTargetInfo.TargetState
    UP_IN: PoolQueryTargetInfo.TargetState
    NEW: PoolQueryTargetInfo.TargetState
    DRAIN: PoolQueryTargetInfo.TargetState
    STATE_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    MEM_FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MD_ON_SSD_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    state: PoolQueryTargetInfo.TargetState
    space: _containers.RepeatedCompositeFieldContainer[StorageTargetUsage]
    mem_file_bytes: int
    md_on_ssd_active: bool
    def __init__(self, state: _Optional[_Union[PoolQueryTargetInfo.TargetState, str]] = ..., space: _Optional[_Iterable[_Union[StorageTargetUsage, _Mapping]]] = ..., mem_file_bytes: _Optional[int] = ..., md_on_ssd_active: bool = ...) -> None: ...

class PoolQueryTargetResp(_message.Message):
    __slots__ = ("status", "infos", "problem")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INFOS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    infos: _containers.RepeatedCompositeFieldContainer[PoolQueryTargetInfo]
    problem: str
    def __init__(self, status: _Optional[int] = ..., infos: _Optional[_Iterable[_Union[PoolQueryTargetInfo, _Mapping]]] = ..., problem: _Optional[str] = ...) -> None: ...

class PoolSetPropReq(_message.Message):
    __slots__ = ("sys", "id", "properties", "svc_ranks")
    SYS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    SVC_RANKS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    id: str
    properties: _containers.RepeatedCompositeFieldContainer[PoolProperty]
    svc_ranks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sys: _Optional[str] = ..., id: _Optional[str] = ..., properties: _Optional[_Iterable[_Union[PoolProperty, _Mapping]]] = ..., svc_ranks: _Optional[_Iterable[int]] = ...) -> None: ...

class PoolSetPropResp(_message.Message):
    __slots__ = ("status", "problem")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    problem: str
    def __init__(self, status: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class PoolGetPropReq(_message.Message):
    __slots__ = ("sys", "id", "properties", "svc_ranks")
    SYS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    SVC_RANKS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    id: str
    properties: _containers.RepeatedCompositeFieldContainer[PoolProperty]
    svc_ranks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sys: _Optional[str] = ..., id: _Optional[str] = ..., properties: _Optional[_Iterable[_Union[PoolProperty, _Mapping]]] = ..., svc_ranks: _Optional[_Iterable[int]] = ...) -> None: ...

class PoolGetPropResp(_message.Message):
    __slots__ = ("status", "properties", "problem")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    status: int
    properties: _containers.RepeatedCompositeFieldContainer[PoolProperty]
    problem: str
    def __init__(self, status: _Optional[int] = ..., properties: _Optional[_Iterable[_Union[PoolProperty, _Mapping]]] = ..., problem: _Optional[str] = ...) -> None: ...
