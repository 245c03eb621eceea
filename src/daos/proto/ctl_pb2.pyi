from daos.proto import shared_pb2 as _shared_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResponseStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CTL_SUCCESS: _ClassVar[ResponseStatus]
    CTL_IN_PROGRESS: _ClassVar[ResponseStatus]
    CTL_WAITING: _ClassVar[ResponseStatus]
    CTL_ERR_CONF: _ClassVar[ResponseStatus]
    CTL_ERR_NVME: _ClassVar[ResponseStatus]
    CTL_ERR_SCM: _ClassVar[ResponseStatus]
    CTL_ERR_APP: _ClassVar[ResponseStatus]
    CTL_ERR_UNKNOWN: _ClassVar[ResponseStatus]
    CTL_NO_IMPL: _ClassVar[ResponseStatus]

class NvmeDevState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN: _ClassVar[NvmeDevState]
    NORMAL: _ClassVar[NvmeDevState]
    NEW: _ClassVar[NvmeDevState]
    EVICTED: _ClassVar[NvmeDevState]
    UNPLUGGED: _ClassVar[NvmeDevState]

class LedState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NA: _ClassVar[LedState]
    QUICK_BLINK: _ClassVar[LedState]
    ON: _ClassVar[LedState]
    SLOW_BLINK: _ClassVar[LedState]
    OFF: _ClassVar[LedState]
CTL_SUCCESS: ResponseStatus
CTL_IN_PROGRESS: ResponseStatus
CTL_WAITING: ResponseStatus
CTL_ERR_CONF: ResponseStatus
CTL_ERR_NVME: ResponseStatus
CTL_ERR_SCM: ResponseStatus
CTL_ERR_APP: ResponseStatus
CTL_ERR_UNKNOWN: ResponseStatus
CTL_NO_IMPL: ResponseStatus
UNKNOWN: NvmeDevState
NORMAL: NvmeDevState
NEW: NvmeDevState
EVICTED: NvmeDevState
UNPLUGGED: NvmeDevState
NA: LedState
QUICK_BLINK: LedState
ON: LedState
SLOW_BLINK: LedState
OFF: LedState

class ResponseState(_message.Message):
    __slots__ = ("status", "error", "info")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    status: ResponseStatus
    error: str
    info: str
    def __init__(self, status: _Optional[_Union[ResponseStatus, str]] = ..., error: _Optional[str] = ..., info: _Optional[str] = ...) -> None: ...

class RanksReq(_message.Message):
    __slots__ = ("force", "ranks", "check_mode")
    FORCE_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    CHECK_MODE_FIELD_NUMBER: _ClassVar[int]
    force: bool
    ranks: str
    check_mode: bool
    def __init__(self, force: bool = ..., ranks: _Optional[str] = ..., check_mode: bool = ...) -> None: ...

class RanksResp(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_shared_pb2.RankResult]
    def __init__(self, results: _Optional[_Iterable[_Union[_shared_pb2.RankResult, _Mapping]]] = ...) -> None: ...

class SetLogMasksReq(_message.Message):
    __slots__ = ("sys", "masks", "reset_masks")
    SYS_FIELD_NUMBER: _ClassVar[int]
    MASKS_FIELD_NUMBER: _ClassVar[int]
    RESET_MASKS_FIELD_NUMBER: _ClassVar[int]
    sys: str
    masks: str
    reset_masks: bool
    def __init__(self, sys: _Optional[str] = ..., masks: _Optional[str] = ..., reset_masks: bool = ...) -> None: ...

class SetLogMasksResp(_message.Message):
    __slots__ = ("status", "errors")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    status: int
    errors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, status: _Optional[int] = ..., errors: _Optional[_Iterable[str]] = ...) -> None: ...

class NetworkScanReq(_message.Message):
    __slots__ = ("provider",)
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    provider: str
    def __init__(self, provider: _Optional[str] = ...) -> None: ...

class FabricInterface(_message.Message):
    __slots__ = ("provider", "device", "numanode", "priority", "netdevclass")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    NUMANODE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    NETDEVCLASS_FIELD_NUMBER: _ClassVar[int]
    provider: str
    device: str
    numanode: int
    priority: int
    netdevclass: int
    def __init__(self, provider: _Optional[str] = ..., device: _Optional[str] = ..., numanode: _Optional[int] = ..., priority: _Optional[int] = ..., netdevclass: _Optional[int] = ...) -> None: ...

class NetworkScanResp(_message.Message):
    __slots__ = ("interfaces", "numacount", "corespernuma")
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    NUMACOUNT_FIELD_NUMBER: _ClassVar[int]
    CORESPERNUMA_FIELD_NUMBER: _ClassVar[int]
    interfaces: _containers.RepeatedCompositeFieldContainer[FabricInterface]
    numacount: int
    corespernuma: int
    def __init__(self, interfaces: _Optional[_Iterable[_Union[FabricInterface, _Mapping]]] = ..., numacount: _Optional[int] = ..., corespernuma: _Optional[int] = ...) -> None: ...

class ScanScmReq(_message.Message):
    __slots__ = ("usage",)
    USAGE_FIELD_NUMBER: _ClassVar[int]
    usage: bool
    def __init__(self, usage: bool = ...) -> None: ...

class ScmNamespace(_message.Message):
    __slots__ = ("uuid", "blockdev", "dev", "numa_node", "size", "mount")
    class Mount(_message.Message):
        __slots__ = ("path", "total_bytes", "avail_bytes", "device_list", "rank", "usable_bytes")
        PATH_FIELD_NUMBER: _ClassVar[int]
        TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
        AVAIL_BYTES_FIELD_NUMBER: _ClassVar[int]
        DEVICE_LIST_FIELD_NUMBER: _ClassVar[int]
        CLASS_FIELD_NUMBER: _ClassVar[int]
        RANK_FIELD_NUMBER: _ClassVar[int]
        USABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
        path: str
        total_bytes: int
        avail_bytes: int
        device_list: _containers.RepeatedScalarFieldContainer[str]
        rank: int
        usable_bytes: int
        def __init__(self, path: _Optional[str] = ..., total_bytes: _Optional[int] = ..., avail_bytes: _Optional[int] = ..., device_list: _Optional[_Iterable[str]] = ..., rank: _Optional[int] = ..., usable_bytes: _Optional[int] = ..., **kwargs) -> None: ...
    UUID_FIELD_NUMBER: _ClassVar[int]
    BLOCKDEV_FIELD_NUMBER: _ClassVar[int]
    DEV_FIELD_NUMBER: _ClassVar[int]
    NUMA_NODE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MOUNT_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    blockdev: str
    dev: str
    numa_node: int
    size: int
    mount: ScmNamespace.Mount
    def __init__(self, uuid: _Optional[str] = ..., blockdev: _Optional[str] = ..., dev: _Optional[str] = ..., numa_node: _Optional[int] = ..., size: _Optional[int] = ..., mount: _Optional[_Union[ScmNamespace.Mount, _Mapping]] = ...) -> None: ...

class ScanScmResp(_message.Message):
    __slots__ = ("namespaces", "state")
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedCompositeFieldContainer[ScmNamespace]
    state: ResponseState
    def __init__(self, namespaces: _Optional[_Iterable[_Union[ScmNamespace, _Mapping]]] = ..., state: _Optional[_Union[ResponseState, _Mapping]] = ...) -> None: ...

class ScanNvmeReq(_message.Message):
    __slots__ = ("Health", "Meta", "Basic", "MetaSize", "RdbSize", "MemRatio", "LinkStats")
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    BASIC_FIELD_NUMBER: _ClassVar[int]
    METASIZE_FIELD_NUMBER: _ClassVar[int]
    RDBSIZE_FIELD_NUMBER: _ClassVar[int]
    MEMRATIO_FIELD_NUMBER: _ClassVar[int]
    LINKSTATS_FIELD_NUMBER: _ClassVar[int]
    Health: bool
    Meta: bool
    Basic: bool
    MetaSize: int
    RdbSize: int
    MemRatio: float
    LinkStats: bool
    def __init__(self, Health: bool = ..., Meta: bool = ..., Basic: bool = ..., MetaSize: _Optional[int] = ..., RdbSize: _Optional[int] = ..., MemRatio: _Optional[float] = ..., LinkStats: bool = ...) -> None: ...

class SmdDevice(_message.Message):
    __slots__ = ("uuid", "tgt_ids", "total_bytes", "avail_bytes", "cluster_size", "rank", "role_bits", "meta_size", "meta_wal_size", "rdb_size", "rdb_wal_size", "usable_bytes", "ctrlr")
    UUID_FIELD_NUMBER: _ClassVar[int]
    TGT_IDS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    AVAIL_BYTES_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_SIZE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    ROLE_BITS_FIELD_NUMBER: _ClassVar[int]
    META_SIZE_FIELD_NUMBER: _ClassVar[int]
    META_WAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    RDB_SIZE_FIELD_NUMBER: _ClassVar[int]
    RDB_WAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    USABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CTRLR_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    tgt_ids: _containers.RepeatedScalarFieldContainer[int]
    total_bytes: int
    avail_bytes: int
    cluster_size: int
    rank: int
    role_bits: int
    meta_size: int
    meta_wal_size: int
    rdb_size: int
    rdb_wal_size: int
    usable_bytes: int
    ctrlr: NvmeController
    def __init__(self, uuid: _Optional[str] = ..., tgt_ids: _Optional[_Iterable[int]] = ..., total_bytes: _Optional[int] = ..., avail_bytes: _Optional[int] = ..., cluster_size: _Optional[int] = ..., rank: _Optional[int] = ..., role_bits: _Optional[int] = ..., meta_size: _Optional[int] = ..., meta_wal_size: _Optional[int] = ..., rdb_size: _Optional[int] = ..., rdb_wal_size: _Optional[int] = ..., usable_bytes: _Optional[int] = ..., ctrlr: _Optional[_Union[NvmeController, _Mapping]] = ...) -> None: ...

class NvmeController(_message.Message):
    __slots__ = ("model", "serial", "pci_addr", "fw_rev", "socket_id", "smd_devices", "dev_state", "led_state")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    PCI_ADDR_FIELD_NUMBER: _ClassVar[int]
    FW_REV_FIELD_NUMBER: _ClassVar[int]
    SOCKET_ID_FIELD_NUMBER: _ClassVar[int]
    SMD_DEVICES_FIELD_NUMBER: _ClassVar[int]
    DEV_STATE_FIELD_NUMBER: _ClassVar[int]
    LED_STATE_FIELD_NUMBER: _ClassVar[int]
    model: str
    serial: str
    pci_addr: str
    fw_rev: str
    socket_id: int
    smd_devices: _containers.RepeatedCompositeFieldContainer[SmdDevice]
    dev_state: NvmeDevState
    led_state: LedState
    def __init__(self, model: _Optional[str] = ..., serial: _Optional[str] = ..., pci_addr: _Optional[str] = ..., fw_rev: _Optional[str] = ..., socket_id: _Optional[int] = ..., smd_devices: _Optional[_Iterable[_Union[SmdDevice, _Mapping]]] = ..., dev_state: _Optional[_Union[NvmeDevState, str]] = ..., led_state: _Optional[_Union[LedState, str]] = ...) -> None: ...

class ScanNvmeResp(_message.Message):
    __slots__ = ("ctrlrs", "state")
    CTRLRS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ctrlrs: _containers.RepeatedCompositeFieldContainer[NvmeController]
    state: ResponseState
    def __init__(self, ctrlrs: _Optional[_Iterable[_Union[NvmeController, _Mapping]]] = ..., state: _Optional[_Union[ResponseState, _Mapping]] = ...) -> None: ...

class SysMemInfo(_message.Message):
    __slots__ = ("hugepage_size_kb", "mem_total_kb", "mem_free_kb", "mem_available_kb")
    HUGEPAGE_SIZE_KB_FIELD_NUMBER: _ClassVar[int]
    MEM_TOTAL_KB_FIELD_NUMBER: _ClassVar[int]
    MEM_FREE_KB_FIELD_NUMBER: _ClassVar[int]
    MEM_AVAILABLE_KB_FIELD_NUMBER: _ClassVar[int]
    hugepage_size_kb: int
    mem_total_kb: int
    mem_free_kb: int
    mem_available_kb: int
    def __init__(self, hugepage_size_kb: _Optional[int] = ..., mem_total_kb: _Optional[int] = ..., mem_free_kb: _Optional[int] = ..., mem_available_kb: _Optional[int] = ...) -> None: ...

class StorageScanReq(_message.Message):
    __slots__ = ("nvme", "scm")
    NVME_FIELD_NUMBER: _ClassVar[int]
    SCM_FIELD_NUMBER: _ClassVar[int]
    nvme: ScanNvmeReq
    scm: ScanScmReq
    def __init__(self, nvme: _Optional[_Union[ScanNvmeReq, _Mapping]] = ..., scm: _Optional[_Union[ScanScmReq, _Mapping]] = ...) -> None: ...

class StorageScanResp(_message.Message):
    __slots__ = ("nvme", "scm", "sys_mem_info")
    NVME_FIELD_NUMBER: _ClassVar[int]
    SCM_FIELD_NUMBER: _ClassVar[int]
    SYS_MEM_INFO_FIELD_NUMBER: _ClassVar[int]
    nvme: ScanNvmeResp
    scm: ScanScmResp
    sys_mem_info: SysMemInfo
    def __init__(self, nvme: _Optional[_Union[ScanNvmeResp, _Mapping]] = ..., scm: _Optional[_Union[ScanScmResp, _Mapping]] = ..., sys_mem_info: _Optional[_Union[SysMemInfo, _Mapping]] = ...) -> None: ...

class FormatNvmeReq(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FormatScmReq(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StorageFormatReq(_message.Message):
    __slots__ = ("nvme", "scm", "reformat", "replace")
    NVME_FIELD_NUMBER: _ClassVar[int]
    SCM_FIELD_NUMBER: _ClassVar[int]
    REFORMAT_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    nvme: FormatNvmeReq
    scm: FormatScmReq
    reformat: bool
    replace: bool
    def __init__(self, nvme: _Optional[_Union[FormatNvmeReq, _Mapping]] = ..., scm: _Optional[_Union[FormatScmReq, _Mapping]] = ..., reformat: bool = ..., replace: bool = ...) -> None: ...

class NvmeControllerResult(_message.Message):
    __slots__ = ("pci_addr", "state", "role_bits")
    PCI_ADDR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROLE_BITS_FIELD_NUMBER: _ClassVar[int]
    pci_addr: str
    state: ResponseState
    role_bits: int
    def __init__(self, pci_addr: _Optional[str] = ..., state: _Optional[_Union[ResponseState, _Mapping]] = ..., role_bits: _Optional[int] = ...) -> None: ...

class ScmMountResult(_message.Message):
    __slots__ = ("mntpoint", "state", "instanceidx")
    MNTPOINT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INSTANCEIDX_FIELD_NUMBER: _ClassVar[int]
    mntpoint: str
    state: ResponseState
    instanceidx: int
    def __init__(self, mntpoint: _Optional[str] = ..., state: _Optional[_Union[ResponseState, _Mapping]] = ..., instanceidx: _Optional[int] = ...) -> None: ...

class StorageFormatResp(_message.Message):
    __slots__ = ("crets", "mrets")
    CRETS_FIELD_NUMBER: _ClassVar[int]
    MRETS_FIELD_NUMBER: _ClassVar[int]
    crets: _containers.RepeatedCompositeFieldContainer[NvmeControllerResult]
    mrets: _containers.RepeatedCompositeFieldContainer[ScmMountResult]
    def __init__(self, crets: _Optional[_Iterable[_Union[NvmeControllerResult, _Mapping]]] = ..., mrets: _Optional[_Iterable[_Union[ScmMountResult, _Mapping]]] = ...) -> None: ...

class SmdQueryReq(_message.Message):
    __slots__ = ("omit_devices", "omit_pools", "include_bio_health", "uuid", "rank")
    OMIT_DEVICES_FIELD_NUMBER: _ClassVar[int]
    OMIT_POOLS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BIO_HEALTH_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    omit_devices: bool
    omit_pools: bool
    include_bio_health: bool
    uuid: str
    rank: int
    def __init__(self, omit_devices: bool = ..., omit_pools: bool = ..., include_bio_health: bool = ..., uuid: _Optional[str] = ..., rank: _Optional[int] = ...) -> None: ...

class SmdQueryResp(_message.Message):
    __slots__ = ("status", "ranks")
    class Pool(_message.Message):
        __slots__ = ("uuid", "tgt_ids", "blobs")
        UUID_FIELD_NUMBER: _ClassVar[int]
        TGT_IDS_FIELD_NUMBER: _ClassVar[int]
        BLOBS_FIELD_NUMBER: _ClassVar[int]
        uuid: str
        tgt_ids: _containers.RepeatedScalarFieldContainer[int]
        blobs: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, uuid: _Optional[str] = ..., tgt_ids: _Optional[_Iterable[int]] = ..., blobs: _Optional[_Iterable[int]] = ...) -> None: ...
    class RankResp(_message.Message):
        __slots__ = ("rank", "devices", "pools")
        RANK_FIELD_NUMBER: _ClassVar[int]
        DEVICES_FIELD_NUMBER: _ClassVar[int]
        POOLS_FIELD_NUMBER: _ClassVar[int]
        rank: int
        devices: _containers.RepeatedCompositeFieldContainer[SmdDevice]
        pools: _containers.RepeatedCompositeFieldContainer[SmdQueryResp.Pool]
        def __init__(self, rank: _Optional[int] = ..., devices: _Optional[_Iterable[_Union[SmdDevice, _Mapping]]] = ..., pools: _Optional[_Iterable[_Union[SmdQueryResp.Pool, _Mapping]]] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    status: int
    ranks: _containers.RepeatedCompositeFieldContainer[SmdQueryResp.RankResp]
    def __init__(self, status: _Optional[int] = ..., ranks: _Optional[_Iterable[_Union[SmdQueryResp.RankResp, _Mapping]]] = ...) -> None: ...

class SmdDevReq(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SmdDevResp(_message.Message):
    __slots__ = ("status", "devices")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    status: int
    devices: _containers.RepeatedCompositeFieldContainer[SmdDevice]
    def __init__(self, status: _Optional[int] = ..., devices: _Optional[_Iterable[_Union[SmdDevice, _Mapping]]] = ...) -> None: ...

class SmdPoolReq(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SmdPoolResp(_message.Message):
    __slots__ = ("status", "pools")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    status: int
    pools: _containers.RepeatedCompositeFieldContainer[SmdQueryResp.Pool]
    def __init__(self, status: _Optional[int] = ..., pools: _Optional[_Iterable[_Union[SmdQueryResp.Pool, _Mapping]]] = ...) -> None: ...
