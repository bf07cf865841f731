package sanitize

import (
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
)

// unfit says why a technique cannot reach what was asked on a drive; "" when it can. What is
// supported is what the drive says of itself: nothing is found out by trying.
func unfit(t Technique, m Method, d devices.Drive, r Request, p Policy) (code, why string) {
	if _, is := d.NotSent(); is && t != HostOverwrite && carriedOut(t) {
		return "other_protocol", "a command of ATA, SCSI or NVMe drives"
	}
	reached := p.reaches(t, d.Media)
	if reached == "" {
		return "not_in_this_version", "this version of expunge does not carry it out"
	}
	if reached.rank() < m.rank() {
		if t == HostOverwrite {
			return "reaches_clear", "an overwrite by the host cannot reach spare and reallocated blocks (IEEE 2883-2022): clear at most"
		}
		return "reaches_less", fmt.Sprintf("under policy %s it reaches %s at most on %s", p.Name, reached, mediaWords(MediaOf(d)))
	}
	if t == HostOverwrite {
		return unfitOverwrite(d, r)
	}
	if d.Identity != devices.IdentityDrive || d.State == devices.StateUnreadable { // what it did not say is not known
		return "no_command_door", "a command of the drive, which cannot be asked what it is"
	}
	if r.FailureMode != "" && !t.hasFailureMode() {
		return "not_asked", "a failure mode was asked for, which belongs to sanitize commands"
	}
	if t != TCGRevert && r.BlockSize != 0 && !t.formats() {
		return "not_asked", "another block size was asked for, which only a format gives"
	}
	if code, why := unfitCommand(t, d, r); code != "" {
		return code, why
	}
	if untold, is := d.Lack(devices.ReasonZonesUntold); is && r.Verify != VerifyStatus {
		return untold.Code, untold.Message
	}
	if r.Verify != VerifyStatus && t.emptiesZones(d) {
		return notProvable, "it leaves the zones of the drive empty, which read as if nothing were there, whatever the media hold, so that reading them back would show nothing; --verify status takes its word"
	}
	return "", ""
}

// unfitCommand judges the commands of a technique that the drive carries out, by its command set.
func unfitCommand(t Technique, d devices.Drive, r Request) (code, why string) {
	if t == TCGRevert {
		return unfitTCG(d, r)
	}
	switch d.Protocol {
	case devices.ProtocolNVMe:
		if t.formats() {
			return unfitFormatNVM(t, d, r)
		}
		return unfitSanitize(t, d, r)
	case devices.ProtocolATA:
		if t == SecurityErase || t == EnhancedSecurityErase {
			return unfitSecurityErase(t, d)
		}
		return unfitSanitize(t, d, r)
	case devices.ProtocolSCSI:
		if t == Format {
			return unfitFormat(d, r)
		}
		return unfitSanitize(t, d, r)
	}
	return "no_command_door", "a command of the drive, and this node takes reads and writes only"
}

// hasFailureMode says whether the technique's commands can be told what a failure leaves.
func (t Technique) hasFailureMode() bool {
	switch t {
	case CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite:
		return true
	}
	return false
}

// unfitSanitize judges the sanitize commands, which NVMe, ATA and SCSI drives have alike.
func unfitSanitize(t Technique, d devices.Drive, r Request) (code, why string) {
	switch {
	case t == SecurityErase || t == EnhancedSecurityErase:
		return "other_protocol", "a command of ATA drives"
	case t == CryptographicFormat:
		return "other_protocol", "a command of NVMe drives"
	case t == Format && d.Protocol == devices.ProtocolATA:
		return "other_protocol", "a command of SCSI and NVMe drives"
	}
	s := d.Sanitize
	if s == nil {
		for _, code := range []string{devices.ReasonBridgeOpaque, "sanitize_unknown", "opcodes_unreported"} {
			if lack, is := d.Lack(code); is {
				return code, lack.Message
			}
		}
		return "not_supported", "the drive has no sanitize command"
	}
	if lack, is := d.Lack(devices.ReasonSanitizeFrozen); is {
		return devices.ReasonSanitizeFrozen, lack.Message
	}
	has, word := false, ""
	switch t {
	case CryptoThenBlock:
		has, word = s.Crypto && s.Block, "both"
	case CryptographicErase:
		has, word = s.Crypto, "a cryptographic erase"
	case BlockErase:
		has, word = s.Block, "a block erase"
	case DriveOverwrite:
		if lack, is := d.Lack(devices.ReasonHBADrops); is {
			return devices.ReasonHBADrops, lack.Message
		}
		has, word = s.Overwrite, "an overwrite"
	default:
		return "not_in_this_version", "this version of expunge does not carry it out"
	}
	pending, waits := d.Lack(devices.ReasonFirmwarePending)
	switch {
	case !has:
		return "not_supported", "its sanitize command cannot do " + word
	case waits:
		return devices.ReasonFirmwarePending, pending.Message
	case s.State == devices.SanitizeFailed && d.Protocol == devices.ProtocolNVMe && !s.Unrestricted && r.FailureMode == Unrestricted:
		return "restricted_failure", "an earlier sanitize failed in restricted mode: only a restricted one can follow"
	case r.Verify != VerifyStatus && leaves(t, d) == devices.ReadsNothing:
		return notProvable, "the drive lets nothing be read after it until it is written again, so that nothing could be read back; --verify status takes its word"
	}
	return unmarkable(d, r)
}

// unmarkable says that nothing could show that the drive did what it reports: no marker can be written
// before it.
func unmarkable(d devices.Drive, r Request) (code, why string) {
	if lack, is := d.Lack(devices.ReasonReadOnlyMedium); is && r.Verify != VerifyStatus {
		return devices.ReasonReadOnlyMedium, lack.Message + "; --verify status takes the drive's word"
	}
	return "", ""
}

func unfitSecurityErase(t Technique, d devices.Drive) (code, why string) {
	s := d.Security
	switch {
	case s == nil:
		return "not_supported", "the drive has no ATA security commands"
	case t == EnhancedSecurityErase && !s.Enhanced:
		return "not_supported", "the drive has no enhanced security erase"
	case d.Bridge != "":
		return "usb_security_erase", "some USB bridges drop the drive in the middle of a security erase, and leave it locked: attach it directly"
	case d.Sanitize != nil && d.Sanitize.State == devices.SanitizeFailed:
		return "sanitize_failed", "an earlier sanitize of the drive failed, and it takes nothing but another"
	}
	for _, code := range []string{devices.ReasonFrozen, devices.ReasonEnabled, devices.ReasonHiddenUnknown} {
		if lack, is := d.Lack(code); is {
			return code, lack.Message
		}
	}
	return "", ""
}

// blockSizes are the logical block lengths that drives are formatted to.
var blockSizes = []int{512, 4096}

func unfitFormat(d devices.Drive, r Request) (code, why string) {
	switch {
	case !d.Format:
		for _, code := range []string{"sanitize_unknown", "opcodes_unreported"} {
			if lack, is := d.Lack(code); is {
				return code, lack.Message
			}
		}
		return "not_supported", "the drive does not list FORMAT UNIT among its commands"
	case d.Sanitize != nil && d.Sanitize.State == devices.SanitizeFailed:
		return "sanitize_failed", "an earlier sanitize of the drive failed, and it takes nothing but another"
	case r.BlockSize != 0 && len(d.Units) > 0:
		return "logical_units", "the drive has several logical units, whose blocks are changed one by one with other tools"
	}
	return "", ""
}

func unfitFormatNVM(t Technique, d devices.Drive, r Request) (code, why string) {
	if lack, is := d.Lack(devices.ReasonFirmwarePending); is && d.FormatNVM != nil {
		return devices.ReasonFirmwarePending, lack.Message
	}
	switch f := d.FormatNVM; {
	case f == nil:
		return "not_supported", "the drive has no Format NVM command"
	case t == CryptographicFormat && !f.Crypto:
		return "not_supported", "its Format NVM command cannot erase cryptographically"
	case f.Bars != "":
		return "format_scope", f.Bars
	case r.BlockSize != 0:
		return "not_in_this_version", "this version of expunge changes the logical blocks of SCSI drives only"
	case d.Sanitize != nil && d.Sanitize.State == devices.SanitizeFailed:
		return "sanitize_failed", "an earlier sanitize of the drive failed, and it takes nothing but another"
	}
	return unmarkable(d, r)
}

func unfitOverwrite(d devices.Drive, r Request) (code, why string) {
	switch {
	case slices.ContainsFunc(d.Namespaces, func(n devices.Namespace) bool { return !n.Attached }):
		return "namespaces", fmt.Sprintf("the drive has %d namespaces, and the host cannot write to all of them", len(d.Namespaces))
	case d.Sanitize != nil && d.Sanitize.State == devices.SanitizeFailed:
		return "sanitize_failed", "an earlier sanitize of the drive failed, and it may take no writes before another has succeeded"
	case d.FormatFailed:
		return "format_failed", "an earlier format of the drive failed or was cut off: nothing can be written before one has succeeded"
	case r.FailureMode != "":
		return "not_asked", "a failure mode was asked for, which belongs to what a drive does by itself"
	case r.BlockSize != 0:
		return "not_asked", "another block size was asked for, which only a format gives"
	}
	if lack, is := d.Lack(devices.ReasonNodeSmaller); is {
		return devices.ReasonNodeSmaller, lack.Message + ": the host cannot overwrite the rest"
	}
	for _, code := range []string{devices.ReasonHiddenFrozen, devices.ReasonHiddenUnknown, devices.ReasonReadOnlyMedium} {
		if lack, is := d.Lack(code); is {
			return code, lack.Message
		}
	}
	for _, a := range d.Hidden {
		if a.Locked {
			return "hidden_area_locked", fmt.Sprintf("%d bytes are hidden by the %s that a password keeps as it is: the host cannot overwrite them", a.NativeBytes-a.FromBytes, a.Kind)
		}
	}
	return "", ""
}

func mediaWords(m devices.Media) string {
	switch m {
	case devices.MediaMagnetic:
		return "magnetic media"
	case devices.MediaFlash:
		return "flash"
	}
	return "media of unknown kind"
}

// operations are the commands of a technique on a drive, unit by unit; none for what the host does.
func operations(t Technique, d devices.Drive, r Request) []Operation {
	var list []Operation
	if t == TCGRevert {
		o := tcgOperation(d, r)
		o.Technique = t
		return []Operation{o}
	}
	for unit := range max(1, len(d.Units)) {
		for n, step := range t.Steps() {
			var o Operation
			switch d.Protocol {
			case devices.ProtocolNVMe:
				o = nvmeOperation(step, n == len(t.Steps())-1, d, r)
			case devices.ProtocolATA:
				o = ataOperation(step, d, r)
			case devices.ProtocolSCSI:
				o = scsiOperation(step, d, r)
			}
			o.Technique, o.Unit = step, unit
			if len(d.Units) > 0 {
				o.Command += fmt.Sprintf(", logical unit %d", d.Units[unit].LUN)
			}
			list = append(list, o)
		}
	}
	return list
}

// leaves says what reads must return after the technique.
func leaves(t Technique, d devices.Drive) devices.ReadBack {
	s := d.Sanitize
	switch t {
	case CryptoThenBlock, BlockErase:
		if s != nil {
			return s.AfterBlock
		}
		return devices.ReadsConstant
	case CryptographicErase:
		if s != nil {
			return s.AfterCrypto
		}
	case Format:
		if d.Protocol == devices.ProtocolNVMe {
			return devices.ReadsAnything // NVMe base 2.0, 5.14: indeterminate
		}
		return devices.ReadsZeros
	case DriveOverwrite:
		if s != nil && d.Protocol == devices.ProtocolNVMe && !s.NoDeallocate {
			return s.AfterBlock // which it unmaps when it is done
		}
		return devices.ReadsZeros // which is what they are told to write
	case SecurityErase:
		return devices.ReadsConstant // ACS-4 7.45: binary zeros or binary ones
	}
	return devices.ReadsAnything
}
