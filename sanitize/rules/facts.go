package rules

import "time"

// Facts are what rules are judged by. What is nil or "" is not known: has() says so, and reading it is an error.
type Facts struct {
	Drive     Drive     `yaml:"drive"`
	Request   Request   `yaml:"request"`
	Requester Requester `yaml:"requester"`
	Host      Host      `yaml:"host"`
	Plan      Plan      `yaml:"plan"`
	Now       time.Time `yaml:"-"` // UTC; the zero time is not known
}

// Drive is what is known of one drive.
type Drive struct {
	ID        string `yaml:"id" about:"drive-id/v1: hex digits"`
	Serial    string `yaml:"serial" about:"serial number, as the drive says it"`
	Model     string `yaml:"model" about:"model, as the drive says it"`
	WWN       string `yaml:"wwn" about:"world wide name, where it has one"`
	Firmware  string `yaml:"firmware" about:"firmware revision"`
	Protocol  string `yaml:"protocol" words:"ata,scsi,nvme,mmc,ufs,nvdimm,virtio,loop,block" about:"the command set by which it is reached"`
	Media     string `yaml:"media" words:"hdd,ssd" about:"what holds the data, by the drive's own word"`
	Identity  string `yaml:"identity" words:"drive,host-local" about:"who vouches for model and serial"`
	Bridge    string `yaml:"bridge" words:"none,usb" about:"what it is reached through, which may speak for itself"`
	Fabric    string `yaml:"fabric" about:"none, or the fabric over which it is reached: tcp, rdma, fc, iscsi, …"`
	Zoning    string `yaml:"zoning" words:"none,host-managed,host-aware,device-managed" about:"zones of a shingled hard disk"`
	Size      *int64 `yaml:"size_bytes" about:"bytes that the host can address"`
	Logical   *int64 `yaml:"logical_block_bytes" about:"length of its logical blocks"`
	Physical  *int64 `yaml:"physical_block_bytes" about:"length of its physical blocks"`
	Rotates   *bool  `yaml:"rotational" about:"a hard disk, by the drive's own word"`
	Hours     *int64 `yaml:"power_on_hours" about:"hours of use, where the drive tells"`
	Hidden    *int64 `yaml:"hidden_bytes" about:"bytes that it hides from the host by limits of its own (HPA, AMA, DCO)"`
	Unclaimed *int64 `yaml:"unallocated_bytes" about:"of an NVMe drive that tells: capacity of no namespace"`
	// Namespaces counts those of an NVMe drive, Units the logical units of another that has several.
	Namespaces  *int64   `yaml:"namespaces" about:"of an NVMe drive: how many it has, attached or not"`
	Units       *int64   `yaml:"logical_units" about:"how many logical units or nodes of their own it has; 1 of most"`
	Nodes       []string `yaml:"nodes" about:"its nodes, such as /dev/sda; they change between boots"`
	Controllers []string `yaml:"controllers" about:"of an NVMe drive: nodes of its controllers in this host"`
	Notes       []string `yaml:"notes" about:"codes of what was found that is no reason to refuse, such as hidden_area"`
	Simulated   *bool    `yaml:"simulated" about:"it is a virtual drive"`
}

// Request is what was asked for. What was not asked for is not known: policy chooses it.
type Request struct {
	Method      string `yaml:"method" words:"clear,purge" about:"the method asked for"`
	Technique   string `yaml:"technique" words:"crypto+block,crypto,block,drive-overwrite,enhanced-security-erase,security-erase,tcg-revert,format-crypto,format,host-overwrite" about:"the technique asked for"`
	Verify      string `yaml:"verify" words:"status,sampled,full" about:"the verification asked for"`
	Disposition string `yaml:"disposition" words:"reuse,decommission" about:"what becomes of the drive"`
	Category    string `yaml:"category" words:"low,moderate,high" about:"confidentiality of the information"`
	Pattern     string `yaml:"pattern" about:"what an overwrite writes: zero, one, random, hex digits"`
	Scheme      string `yaml:"scheme" about:"the passes of an older standard"`
	FailureMode string `yaml:"failure_mode" words:"unrestricted" about:"what a failed sanitize leaves, where that was asked for"`
	TCG         string `yaml:"tcg" about:"how a self-encrypting drive destroys its keys"`
	BlockSize   *int64 `yaml:"block_size" about:"the block length that a format shall give"`
	AllowFabric *bool  `yaml:"allow_fabric" about:"drives over a fabric are asked for, too"`
}

// Requester is who asked. Of a command line on the host nobody is named.
type Requester struct {
	Name   string   `yaml:"name" about:"who asked, such as uid:1000"`
	Groups []string `yaml:"groups" about:"groups or roles of who asked"`
}

// Host is where it is done.
type Host struct {
	ID        string `yaml:"id" about:"identity of the agent's state: of this host or rack"`
	Simulated *bool  `yaml:"simulated" about:"a rack of virtual drives"`
}

// Plan is what the drive is planned together with.
type Plan struct {
	Drives *int64 `yaml:"drives" about:"how many drives were asked for at once"`
	Method string `yaml:"method" words:"clear,purge" about:"what is to be reached without these rules: what was asked for, or what policy chooses"`
}
