"""What tests of activities share."""

from tests.rig import rig as rig
