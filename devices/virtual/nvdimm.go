package virtual

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/expunge-dev/expunge/devices"
)

func nvdimmProfiles() []Profile {
	return []Profile{{Name: "nvdimm", Summary: "a memory module that keeps its contents, as a block device in fsdax mode; its label area and what the mode keeps for itself are among its hidden blocks",
		Protocol: devices.ProtocolNVDIMM, Media: devices.MediaUnknown, model: "VNVDIMM"}}
}

// ndBus is the bus that the host's memory modules are on.
const ndBus = "sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0"

// layNVDIMM makes what a kernel shows of persistent memory: the module, its region, the namespace in it, and
// the mode that makes a block device of the namespace.
func (r *Rack) layNVDIMM(info Info, p Profile) error {
	n, size := info.Index, info.addressable()
	serial := p.ownSerial(info.Spec.Serial)
	module, region := fmt.Sprintf("%s/nmem%d", ndBus, n), fmt.Sprintf("%s/region%d", ndBus, n)
	namespace, claim := fmt.Sprintf("%s/namespace%d.0", region, n), info.bus(info.Spaces[0])
	uuid := func(what string) string {
		sum := sha256.Sum256([]byte(what + "\n" + serial))
		return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	}
	kept := min(2<<20, info.Spec.HiddenBytes/2/4096*4096) // by the mode
	files := map[string]string{
		module + "/nfit/id": serial, module + "/nfit/serial": "0x" + serial[5:], module + "/nfit/vendor": "0x7670", module + "/security": "disabled", module + "/state": "active",
		module + "/devtype": "nvdimm", region + "/size": fmt.Sprint(size + kept), region + "/mappings": "1", region + "/available_size": "0", region + "/read_only": "0",
		region + "/mapping0": fmt.Sprintf("nmem%d,0,%d,0", n, size+kept), region + "/devtype": "nd_pmem", region + "/resource": fmt.Sprintf("%#x", 0x100000000*int64(n+1)),
		namespace + "/size": fmt.Sprint(size + kept), namespace + "/uuid": uuid("namespace"), namespace + "/mode": "memory", namespace + "/type": "pmem",
		claim + "/namespace": filepath.Base(namespace), claim + "/uuid": uuid("mode"), claim + "/mode": "pmem", claim + "/size": fmt.Sprint(size),
	}
	err := os.MkdirAll(filepath.Join(r.dir, "sys/bus/nd/drivers/nd_pmem"), 0o755)
	links := map[string]string{claim + "/driver": "sys/bus/nd/drivers/nd_pmem"}
	for _, dir := range []string{module, region, namespace, claim} {
		links[dir+"/subsystem"], links["sys/bus/nd/devices/"+filepath.Base(dir)] = "sys/bus/nd", dir
	}
	return errors.Join(err, r.write(files), r.link(links))
}
