"""A user's own `conf/` folder, looked through before the shipped one."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from geohydra.config.folders import user_conf


class UserConf(SearchPathPlugin):
    """Runs in geohydra's own process only: nothing else puts this folder on `sys.path`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """A file of the user's shadows the shipped one of the same name."""
        if (mine := user_conf()) is not None:
            search_path.prepend("user", f"file://{mine}", anchor="main")
