"""What flows between the parts: plain, frozen, validated values."""
