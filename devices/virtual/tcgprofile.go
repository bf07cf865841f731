package virtual

import (
	"fmt"

	"github.com/expunge-dev/expunge/devices"
)

// tcgProfiles are drives with a TCG security subsystem, on all three transports.
func tcgProfiles() []Profile {
	sata := func(p Profile) Profile {
		p.Protocol, p.Media, p.Security, p.encrypts, p.tcg.kind = devices.ProtocolATA, devices.MediaFlash, !p.latent, true, tcgOpal
		return p
	}
	nvme := func(p Profile) Profile {
		p.Protocol, p.Media, p.controllers = devices.ProtocolNVMe, devices.MediaFlash, 1
		orElse(&p.tcg.kind, tcgOpal)
		p.encrypts = p.tcg.kind != tcgPyrite
		return p
	}
	sas := func(p Profile) Profile {
		p.Protocol, p.Media, p.Format, p.encrypts = devices.ProtocolSCSI, devices.MediaMagnetic, true, true
		p.tcg.kind, p.tcg.active, p.tcg.ranges = tcgEnterprise, true, 2
		return p
	}
	both := []string{kindCrypto, kindBlock}
	list := []Profile{
		sata(Profile{Name: "sata-opal", Summary: "a SATA SSD with Opal 2, owned by somebody and unlocked: no ATA Security while it is, no sanitize; its label has the PSID", latent: true,
			model: "Virtual SATA Opal", tcg: tcgProfile{active: true, owned: true, ranges: 1}}),
		sata(Profile{Name: "sata-opal-inactive", Summary: "the same, of which nobody ever took ownership: a revert changes no data; ATA Security", model: "Virtual SATA Opal new"}),
		sata(Profile{Name: "sata-opal-sid-blocked", Summary: "the same with SID blocked by firmware until a power cycle", model: "Virtual SATA Opal SID", tcg: tcgProfile{blocked: true}}),
		nvme(Profile{Name: "nvme-opal", Summary: "an NVMe SSD with Opal 2, activated with the PIN that it shows (MSID), unlocked; sanitize", Sanitize: both,
			model: "Virtual NVMe Opal", tcg: tcgProfile{active: true, ranges: 1}}),
		nvme(Profile{Name: "nvme-opal-inactive", Summary: "an NVMe SSD with Opal 2 that was never activated: a revert changes no data; no sanitize", model: "Virtual NVMe Opal new"}),
		nvme(Profile{Name: "nvme-opal-owned", Summary: "an NVMe SSD with Opal 2, owned, locked range by range by PINs that nobody knows, behind a shadow MBR; no sanitize while it is", Sanitize: both,
			model: "Virtual NVMe Opal locked", tcg: tcgProfile{active: true, owned: true, ranges: 2, locked: true, shadowed: true}}),
		nvme(Profile{Name: "nvme-opal-lockout", Summary: "an NVMe SSD with Opal 2, owned, unlocked, of which somebody tried wrong PINs until SID was locked out", model: "Virtual NVMe Opal tried",
			tcg: tcgProfile{active: true, owned: true, ranges: 1, lockout: true}}),
		nvme(Profile{Name: "nvme-ruby", Summary: "an NVMe SSD with Ruby, activated with the PIN that it shows (MSID), unlocked; Format NVM", NVMeFormat: true,
			model: "Virtual NVMe Ruby", tcg: tcgProfile{kind: tcgRuby, active: true}}),
		nvme(Profile{Name: "nvme-pyrite", Summary: "an NVMe SSD with Pyrite 2, owned and unlocked: it locks and does not encrypt, and a revert removes data by overwrite or block erase", model: "Virtual NVMe Pyrite",
			tcg: tcgProfile{kind: tcgPyrite, active: true, owned: true}}),
		sas(Profile{Name: "sas-enterprise", Summary: "a SAS hard disk with the Enterprise class, two bands, all PINs as it shows them (MSID), unlocked; format", model: "Virtual SAS SED"}),
		sas(Profile{Name: "sas-enterprise-owned", Summary: "the same, owned and locked by PINs that nobody knows", model: "Virtual SAS SED own", tcg: tcgProfile{owned: true, locked: true}}),
	}
	for n := range list {
		p := &list[n]
		p.TCG, p.Owned, p.Locked = string(p.tcg.kind), p.tcg.owned, p.tcg.locked
	}
	return list
}

// lockedOut says whether a profile's drive lets nobody read or write it until somebody unlocks it.
func (p Profile) lockedOut() bool { return p.locked || p.tcg.locked }

// tcgBounds checks what a spec says of the subsystem.
func (s *Spec) tcgBounds(p Profile) error {
	switch {
	case (s.OwnerPIN != "" || s.TriesPersist || s.SIDVendorUnique) && p.tcg.kind == "":
		return fmt.Errorf("PINs of profile %s: it has no TCG subsystem", s.Profile)
	case len(s.OwnerPIN) > maxPIN || s.OwnerPIN != "" && !p.tcg.owned:
		return fmt.Errorf("an owner's PIN of %d characters: at most %d, of a profile that has an owner", len(s.OwnerPIN), maxPIN)
	case s.FilterTrusted && !p.translated():
		return fmt.Errorf("trusted commands filtered of profile %s: it is no ATA drive", s.Profile)
	case p.tcg.kind != "" && (s.SecondNamespace || s.LogicalBlock%512 != 0):
		return fmt.Errorf("a second namespace or blocks of %d bytes of profile %s: its ranges are of one address space, in blocks of 512 or 4096", s.LogicalBlock, s.Profile)
	}
	return nil
}

// Label is what is printed on a drive.
type Label struct {
	Serial string `json:"serial"`
	PSID   string `json:"psid"` // proves that who reverts the drive has it in hand
}

// Label reads a drive's label, by serial number, kernel name or node. A drive without a TCG subsystem
// has an empty PSID.
func (r *Rack) Label(name string) (Label, error) {
	info, err := r.find(name)
	if err != nil {
		return Label{}, err
	}
	m, err := r.readMemory(info.Name)
	if err != nil {
		return Label{}, err
	}
	l := Label{Serial: info.Spec.Serial}
	if m.TCG != nil {
		l.PSID = m.TCG.PSID
	}
	return l, nil
}
