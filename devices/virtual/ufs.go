package virtual

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/expunge-dev/expunge/devices"
)

func ufsProfiles() []Profile {
	return []Profile{{Name: "ufs", Summary: "a UFS device with two logical units that have blocks, and its well-known ones; what is in its RPMB is among its hidden blocks",
		Protocol: devices.ProtocolUFS, Media: devices.MediaFlash, model: "VUFS31", units: 2}}
}

// layUFS makes what a kernel shows of a UFS device: a SCSI host, whose device has the descriptors.
func (r *Rack) layUFS(info Info, p Profile) error {
	host := fmt.Sprintf("host%d", info.Index)
	at := info.scsiHost(info.Index)
	controller := filepath.Dir(at)
	files := map[string]string{
		at + "/scsi_host/" + host + "/proc_name":             "ufshcd",
		controller + "/string_descriptors/manufacturer_name": "VIRTUAL", controller + "/string_descriptors/product_name": p.model,
		controller + "/string_descriptors/serial_number": p.ownSerial(info.Spec.Serial), controller + "/string_descriptors/oem_id": "0",
		controller + "/string_descriptors/product_revision": "0100", controller + "/device_descriptor/number_of_luns": fmt.Sprintf("0x%02x", p.units),
	}
	links := map[string]string{"sys/class/scsi_host/" + host: at + "/scsi_host/" + host}
	var err error
	for _, s := range info.Spaces {
		bus := info.bus(s)
		for name, value := range map[string]string{"vendor": "VIRTUAL ", "model": fmt.Sprintf("%-16.16s", p.model), "rev": "0100", "type": "0", "unit_descriptor/lun": fmt.Sprintf("0x%02x", s.LUN)} {
			files[bus+"/"+name] = value
		}
		err = errors.Join(err, os.MkdirAll(filepath.Join(r.dir, bus, "scsi_generic", info.generic(s)), 0o755))
		links[bus+"/subsystem"], links[bus+"/driver"] = "sys/bus/scsi", "sys/bus/scsi/drivers/sd"
	}
	// The device, the RPMB and the boot unit, which have no block device.
	for _, lun := range []int{49488, 49476, 49456} {
		bus := fmt.Sprintf("%s/target%d:0:0/%d:0:0:%d", at, info.Index, info.Index, lun)
		files[bus+"/type"] = "30"
		links[bus+"/subsystem"] = "sys/bus/scsi"
	}
	return errors.Join(err, r.write(files), r.link(links))
}
