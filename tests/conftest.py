"""What every test needs: nothing phones home, nothing starts by accident."""

import os

os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
os.environ.pop("PREFECT_API_URL", None)

from hypothesis import settings

# A busy machine is no bug: pytest's own timeout ends what hangs.
settings.register_profile("flashvault", deadline=None)
settings.load_profile("flashvault")
