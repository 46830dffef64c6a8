"""What a practitioner would write instead, on the same rows: hand features and scikit-learn."""

from __future__ import annotations
