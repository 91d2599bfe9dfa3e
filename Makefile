# SPDX-License-Identifier: GPL-2.0-or-later
# The verbs of the project. This file only dispatches: see the places named.

PYTHON := /usr/bin/python3
TIERS := kernels bindings secureboot packaging rpm rpm-chroot guard proof fleet debug

# What CI runs, and all there is; FULL=1 tries more combinations. "rpm-chroot" is what
# of "rpm" needs no guest.
TEST := check kernels secureboot packaging rpm-chroot fleet
TEST_ALL := check mutants kernels bindings secureboot packaging rpm guard proof fleet debug demo

help:
	@echo 'make demo        the main job in a throw-away guest with Secure Boot, start to end'
	@echo 'make demo-fleet  a roll-out over six hosts in namespaces, stopped at the canary and mended'
	@echo 'make test        what CI runs: $(TEST)'
	@echo 'make test-all    everything: $(TEST_ALL), more combinations'
	@echo 'make check       style, static checks, unit tests under sanitizers'
	@echo 'make test-TIER   one of: $(TIERS); K=6.12 narrows to a kernel'
	@echo 'make test-proof  drivers of the archive: was the prediction right? SYSTEM=bookworm narrows,'
	@echo '                 KEEP=1 puts the tables into docs/proof.md'
	@echo 'make test-fleet-200  roll-outs to 200 hosts in namespaces; what they cost'
	@echo 'make test-mutants  break the ring on purpose: do its tests notice? its model, its barriers'
	@echo 'make shell       a guest with the driver loaded; K=6.12 chooses its kernel'
	@echo 'make deb         the Debian packages, into build/deb/; SUITES="bookworm sid"'
	@echo 'make bench       instructions of the recorder beside its peers; K=6.1 narrows,'
	@echo '                 KEEP=docs/bench puts the figures and plots of a whole run there'
	@echo 'make bench-read  how fast records are read, beside journalctl; what a dump takes'
	@echo 'make bench-deaths  what comes back of 10,000 records after each death; K=6.1 narrows,'
	@echo '                 KEEP=1 puts the table into docs/deaths.md'
	@echo 'make bench-lifecycle  what a kernel update costs with dkms alone, and with kmodkeep'
	@echo 'make rpm         the RPM packages, into build/rpm/'
	@echo 'make rpm-repo    sign and index them; KEY=NAME is one that gpg has'
	@echo 'make fuzz        feed the parsers of untrusted bytes, each for SECONDS=300'
	@echo 'make install     library and tools, under DESTDIR and PREFIX; the driver comes with dkms'
	@echo 'make clean       remove build/'
	@echo
	@echo 'Apart from the packages that are installed for it, nothing touches this machine but'
	@echo 'build/ and the cache, $${XDG_CACHE_HOME:-~/.cache}/flightrec.'

deps:
	@tests/install-deps

demo: deps
	$(PYTHON) -m tests.demo

demo-fleet: deps
	$(PYTHON) -m tests.demo.fleet

test: deps
	$(PYTHON) tests/run.py $(TEST)

test-all: deps
	FULL=1 $(PYTHON) tests/run.py $(TEST_ALL)

test-mutants: deps
	nice -n 10 $(PYTHON) -m tests.mutants
	nice -n 10 $(PYTHON) -m pytest -q -p no:cacheprovider tests/mutants/test_model.py \
		tests/mutants/test_litmus.py

check: deps
	$(PYTHON) tests/run.py check

$(TIERS:%=test-%): test-%: deps
	$(PYTHON) tests/run.py $*

test-fleet-200: deps
	HOSTS=200 $(PYTHON) tests/run.py fleet-200

shell: deps
	$(PYTHON) -m tests.qemu.interactive $(K)

deb: deps
	debian/build-packages $(SUITES)

rpm: deps
	rpm/build-packages

rpm-repo: deps
	@rpm/make-repository "$(KEY)" --check
	rpm/build-packages
	rpm/make-repository "$(KEY)" build/rpm

bench: deps
	$(PYTHON) -m bench $(if $(K),--kernels $(K)) $(if $(KEEP),--keep $(KEEP))

bench-read: deps
	$(PYTHON) -m bench.reading

bench-deaths: deps
	$(PYTHON) -m bench.deaths $(if $(K),--kernels $(K)) $(if $(KEEP),--keep)

bench-lifecycle: deps
	$(PYTHON) -m bench.lifecycle $(if $(KEEP),--keep $(KEEP))

fuzz: deps
	$(MAKE) -C tests/unit/lib fuzz
	$(MAKE) -C tests/unit/kmodkeep fuzz

install:
	$(MAKE) -C lib install
	$(MAKE) -C tools install
	$(MAKE) -C kmodkeep install

clean:
	rm -rf build

.PHONY: help deps demo demo-fleet test test-all test-fleet-200 test-mutants check $(TIERS:%=test-%) shell deb rpm rpm-repo bench bench-read bench-deaths bench-lifecycle fuzz install clean
.DEFAULT_GOAL := help
