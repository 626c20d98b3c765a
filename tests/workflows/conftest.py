"""What tests of workflows share."""

from tests.rig import rig as rig
