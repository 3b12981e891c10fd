# To be sourced: OpenMPI as it has to be told in a container or on a laptop: as root, with more ranks than cores, ranks
# bound to no core, and no probing for fabrics that are not there.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
