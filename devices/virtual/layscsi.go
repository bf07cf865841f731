package virtual

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// scsiHost is the place of the host adapter that a SATA or SCSI drive is behind.
func (i Info) scsiHost(host int) string {
	p, _ := profileByName(i.Spec.Profile) // it was checked when the drive was added
	switch {
	case p.Protocol == devices.ProtocolUFS:
		return fmt.Sprintf("sys/devices/platform/soc/1d8%04x.ufshc/host%d", 0x4000+host, host)
	case p.bridge != "":
		return fmt.Sprintf("sys/devices/pci0000:00/0000:00:14.0/usb1/1-%d/1-%d:1.0/host%d", host+1, host+1, host)
	case p.translated():
		return fmt.Sprintf("sys/devices/pci0000:00/0000:00:17.0/ata%d/host%d", host+1, host)
	}
	return fmt.Sprintf("sys/devices/pci0000:00/0000:03:00.0/host%d/port-%d:0/end_device-%d:0", host, host, host)
}

// generic is the name of a space's SCSI generic node.
func (i Info) generic(s Space) string {
	if !strings.HasPrefix(i.Name, "sd") || s.Mapped {
		return ""
	}
	return fmt.Sprintf("sg%d", i.Index+s.LUN+s.Path)
}

// laySCSI makes what a kernel shows of a drive behind a SCSI host adapter: what the drive, its
// translation or its dock say in INQUIRY data and vital product data.
func (r *Rack) laySCSI(info Info, p Profile) error {
	driver := map[bool]string{true: "ahci", false: "mpt3sas"}[p.translated()]
	if p.bridge != "" {
		driver = "usb-storage"
	}
	var err error
	for _, s := range info.Spaces {
		if s.Mapped {
			continue
		}
		if s.LUN == 0 {
			host := fmt.Sprintf("host%d", info.Index+s.Path)
			adapter := strings.SplitAfter(info.scsiHost(info.Index+s.Path), "/"+host)[0] + "/scsi_host/" + host
			err = errors.Join(err, r.write(map[string]string{adapter + "/proc_name": driver}), r.link(map[string]string{"sys/class/scsi_host/" + host: adapter}))
		}
		bus := info.bus(s)
		vendor, product, revision := p.inquiryNames()
		files := map[string]string{
			bus + "/vendor": fmt.Sprintf("%-8.8s", vendor), bus + "/model": fmt.Sprintf("%-16.16s", product), bus + "/rev": fmt.Sprintf("%-4.4s", revision), bus + "/type": map[bool]string{true: "20", false: "0"}[p.managed()],
			bus + "/wwid":     "naa." + wwn(unitName(info.Spec.Serial, s.LUN)),
			bus + "/vpd_pg80": string(vpd(0x80, p.unitSerial(info.Spec))), bus + "/vpd_pg83": string(vpd(0x83, p.designators(info.Spec, s))),
		}
		if p.Format {
			files[bus+"/sas_address"] = "0x" + wwn(fmt.Sprint("target ", info.Spec.Serial, strings.Repeat(" again", s.Path)))
		}
		err = errors.Join(err, r.write(files), os.MkdirAll(filepath.Join(r.dir, bus, "scsi_generic", info.generic(s)), 0o755),
			r.link(map[string]string{bus + "/subsystem": "sys/bus/scsi", bus + "/driver": "sys/bus/scsi/drivers/sd"}))
	}
	return err
}
