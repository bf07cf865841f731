package devices_test

import (
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

// bay adds a slot of an enclosure to a host, and what the kernel shows of the enclosure.
func (h tree) bay(enclosure, name, slot, node string) tree {
	at := "sys/class/enclosure/" + enclosure
	h[at+"/id"], h[at+"/components"], h[at+"/device/vendor"], h[at+"/device/model"] = "0x500a0b8000000001\n", "24\n", "ACME    ", "JBOD 24         "
	h[at+"/"+name+"/type"], h[at+"/"+name+"/locate"], h[at+"/"+name+"/slot"] = "array device\n", "0\n", slot
	if node != "" {
		h[at+"/"+name+"/device"] = "->../../../../block/" + node + "/device"
	}
	return h
}

// A drive is said to be in a slot only where everything that the kernel shows says the same: somebody will pull what
// is in that slot.
func TestSlotIsTheOneOrNone(t *testing.T) {
	host := func() tree { return machine().disk("sda", "8:0", "SER1") }
	device := "sys/devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda/device/"
	back := func(bay string) tree {
		return tree{device + "enclosure_device:" + bay: "->../../../../../../../../../class/enclosure/9:0:0:0/" + bay}
	}
	const shelf = "sys/class/enclosure/9:0:0:0/"
	pci := func(files tree) tree {
		h := machine().nvme("nvme0n1", "259:0", "pcie").with(files)
		at := "sys/devices/pci0000:00/0000:00:01.0/0000:3b:00.0/nvme/nvme0"
		for _, name := range []string{"model", "serial", "firmware_rev", "transport", "subsysnqn"} {
			h[at+"/"+name] = h["sys/block/nvme0n1/device/"+name]
			delete(h, "sys/block/nvme0n1/device/"+name)
		}
		delete(h, "sys/block/nvme0n1/device/subsystem")
		h[at+"/subsystem"] = "->../../../../../../class/nvme"
		h["sys/class/nvme/nvme0"] = "->../../devices/pci0000:00/0000:00:01.0/0000:3b:00.0/nvme/nvme0"
		h["sys/block/nvme0n1/device"] = "->../../class/nvme/nvme0"
		return h
	}
	for _, c := range []struct {
		name string
		host tree
		want string
		id   string
	}{
		{"in none", host(), "", ""},
		{"in a slot", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").bay("9:0:0:0", "Slot 04", "4\n", ""), "slot 3 of 9:0:0:0", "500a0b8000000001"},
		{"number zero", host().bay("9:0:0:0", "ArrayDevice00", "0\n", "sda"), "slot 0 of 9:0:0:0", "500a0b8000000001"},
		{"with the link back", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").with(back("Slot 03")), "slot 3 of 9:0:0:0", "500a0b8000000001"},
		{"an old kernel without numbers", func() tree {
			h := host().bay("9:0:0:0", "Slot 03", "", "sda")
			delete(h, shelf+"Slot 03/slot")
			return h
		}(), `slot "Slot 03" of 9:0:0:0`, "500a0b8000000001"},
		{"an enclosure that was never named", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").with(tree{shelf + "id": "0x0\n"}), "slot 3 of 9:0:0:0", ""},
		{"a name that moves the cursor", host().bay("9:0:0:0", "Slot\x1b[2J", "3\n", "sda").with(tree{shelf + "Slot\x1b[2J/slot": "3"}), "slot 3 of 9:0:0:0", "500a0b8000000001"},

		{"two slots of one enclosure claim it", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").bay("9:0:0:0", "Slot 04", "4\n", "sda"), "", ""},
		{"two slots of one number claim it", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").bay("9:0:0:0", "Slot 04", "3\n", "sda"), "", ""},
		{"two enclosures claim it", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").bay("7:0:0:0", "Slot 03", "3\n", "sda").with(tree{"sys/class/enclosure/7:0:0:0/id": "0x500a0b8000000002"}), "", ""},
		{"two without a name of their own", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").bay("7:0:0:0", "Slot 03", "3\n", "sda").
			with(tree{"sys/class/enclosure/7:0:0:0/id": "0x0", "sys/class/enclosure/9:0:0:0/id": "0x0"}), "", ""},
		{"the two processes of one enclosure", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").bay("9:0:1:0", "Slot 03", "3\n", "sda"), "slot 3 of 9:0:0:0", "500a0b8000000001"},
		{"the link back is another slot's", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").bay("9:0:0:0", "Slot 04", "4\n", "").with(back("Slot 04")), "", ""},
		{"the link back leads nowhere", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").with(back("Slot 05")), "", ""},
		{"only the link back", host().bay("9:0:0:0", "Slot 03", "3\n", "").with(back("Slot 03")), "", ""},
		{"no number", host().bay("9:0:0:0", "Slot 03", "three\n", "sda"), "", ""},
		{"an empty number", host().bay("9:0:0:0", "Slot 03", "\n", "sda"), "", ""},
		{"a negative number", host().bay("9:0:0:0", "Slot 03", "-1\n", "sda"), "", ""},
		{"one slot is not understood", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").bay("7:0:0:0", "Slot 09", "x\n", "sda"), "", ""},
		{"no bay but a power supply", host().bay("9:0:0:0", "Slot 03", "3\n", "sda").with(tree{shelf + "Slot 03/type": "power supply"}), "", ""},
		{"a number that two drives have", host().disk("sdb", "8:16", "SER2").bay("9:0:0:0", "left 03", "3\n", "sda").bay("9:0:0:0", "right 03", "3\n", "sdb"), `slot "left 03" of 9:0:0:0`, "500a0b8000000001"},

		{"PCI", pci(tree{"sys/bus/pci/slots/5/address": "0000:3b:00\n", "sys/bus/pci/slots/6/address": "0000:3c:00\n"}), "PCI slot 5", ""},
		{"another PCI slot", pci(tree{"sys/bus/pci/slots/6/address": "0000:3c:00\n"}), "", ""},
		{"the slot of the bridge above", pci(tree{"sys/bus/pci/slots/6/address": "0000:00:01\n"}), "", ""},
		{"two PCI slots of one address", pci(tree{"sys/bus/pci/slots/5/address": "0000:3b:00\n", "sys/bus/pci/slots/6/address": "0000:3b:00\n"}), "", ""},
		{"a PCI slot without a number", pci(tree{"sys/bus/pci/slots/5/address": "0000:3b\n"}), "", ""},
		{"a PCI slot that says nothing", pci(tree{"sys/bus/pci/slots/5/address": "\n"}), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			drives, err := c.host.build(t).Drives(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, id := "", ""
			if e := drives[0].Enclosure; e != nil {
				got, id = e.String(), e.ID
			}
			if got != c.want || id != c.id {
				t.Errorf("%q, id %q; want %q, %q", got, id, c.want, c.id)
			}
		})
	}
	drives, err := host().bay("9:0:0:0", "Slot\x1b[2J", "3\n", "sda").build(t).Drives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e := *drives[0].Enclosure; e.Product != "ACME JBOD 24" || e.SlotName != `Slot\x1b[2J` || e.Kind != devices.SlotEnclosure {
		t.Errorf("%+v", e)
	}
}
