"""Outputs of programs that are not free to run, written by hand in their documented form."""

from __future__ import annotations

CASTEP = """
 +-------------------------------------------------+
 |                                                 |
 |      CCC   AA    SSS  TTTTT  EEEEE  PPPP        |
 |     C     A  A  S       T    E      P   P       |
 |     C     AAAA   SS     T    EEE    PPPP        |
 |     C     A  A     S    T    E      P           |
 |      CCC  A  A  SSS     T    EEEEE  P           |
 |                                                 |
 +-------------------------------------------------+
 |                                                 |
 | Welcome to Academic Release CASTEP version 19.11|
 +-------------------------------------------------+

 ************************************ Title ************************************

 ***************************** General Parameters ******************************

 type of calculation                            : single point energy
 stress calculation                             : on

 *********************** Exchange-Correlation Parameters ***********************

 using functional                               : PBE for solids (2008)
 DFT+D: Semi-empirical dispersion correction    : off

 ************************* Pseudopotential Parameters **************************

 ************************** Basis Set Parameters *******************************

 plane wave basis set cut-off                   :   400.0000   eV

 **************************** Electronic Parameters ****************************

 number of  electrons                           :  8.000
 treating system as non-spin-polarized

 *******************************************************************************

                           -------------------------------
                                      Unit Cell
                           -------------------------------
        Real Lattice(A)              Reciprocal Lattice(1/A)
     0.0000000   2.7000000   2.7000000       -1.163553  1.163553  1.163553
     2.7000000   0.0000000   2.7000000        1.163553 -1.163553  1.163553
     2.7000000   2.7000000   0.0000000        1.163553  1.163553 -1.163553

                           -------------------------------
                                     Cell Contents
                           -------------------------------
                         Total number of ions in cell =    2
                      Total number of species in cell =    1

            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
            x  Element    Atom        Fractional coordinates of atoms x
            x            Number           u          v          w      x
            x--------------------------------------------------------x
            x  Si           1         0.010000   0.000000   0.000000   x
            x  Si           2         0.250000   0.250000   0.250000   x
            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx

                        Files used for pseudopotentials:
                         Si Si_C19_PBESOL_OTF.usp

                              -------------------------------
                                 k-Points For BZ Sampling
                              -------------------------------
                       MP grid size for SCF calculation is  4  4  4
                            with an offset of   0.000  0.000  0.000
                       Number of kpoints used =            32

------------------------------------------------------------------------ <-- SCF
SCF loop      Energy           Fermi           Energy gain       Timer   <-- SCF
------------------------------------------------------------------------ <-- SCF
      1  -3.35510000E+002                    3.00000000E+001      0.10   <-- SCF
      2  -3.37894132E+002  5.80000000E+000   1.00000000E-006      0.20   <-- SCF
------------------------------------------------------------------------ <-- SCF
{warning}
Final energy, E             =  -337.8941320000     eV
Final free energy (E-TS)    =  -337.8942100000     eV
NB est. 0K energy (E-0.5TS)      =  -337.8941710000     eV

 ******************************** Forces *********************************
 *                                                                       *
 *                  Cartesian components (eV/A)                          *
 * --------------------------------------------------------------------- *
 *                         x                    y                    z   *
 *                                                                       *
 * Si               1     -0.02590             -0.41000             -0.41000 *
 * Si               2      0.02590              0.41000              0.41000 *
 *                                                                       *
 *************************************************************************

 ***************** Stress Tensor *****************
 *                                               *
 *          Cartesian components (GPa)           *
 * --------------------------------------------- *
 *             x             y             z     *
 *                                               *
 *  x     -3.610000     -1.075000     -1.075000  *
 *  y     -1.075000     -3.561000     -0.062000  *
 *  z     -1.075000     -0.062000     -3.561000  *
 *                                               *
 *  Pressure:    3.5773                          *
 *                                               *
 *************************************************

Initialisation time =      0.50 s
Calculation time    =      1.00 s
Finalisation time   =      0.10 s
Total time          =      1.60 s
"""

AIMS = """
------------------------------------------------------------
          Invoking FHI-aims ...

  When using FHI-aims, please cite the following reference:
  FHI-aims version      : 210226

  -----------------------------------------------------------------------
  Parsing control.in (first pass over file, find array dimensions only).
  The contents of control.in will be repeated verbatim below
  unless switched off by setting 'verbatim_writeout .false.' .
  in the first line of control.in .
  -----------------------------------------------------------------------

  xc                                 pbesol
  spin                               none
  k_grid                             6 6 6
  compute_forces                     .true.

  -----------------------------------------------------------------------
  | Number of atoms                   :        2
  | Number of lattice vectors         :        3
  | Number of spin channels           :        1
  | Number of k-points                             :       216
  Input geometry:
  | Unit cell:
  |        0.00000000        2.70000000        2.70000000
  |        2.70000000        0.00000000        2.70000000
  |        2.70000000        2.70000000        0.00000000
  | Atomic structure:
  |       Atom                x [A]            y [A]            z [A]
  |    1: Species Si            0.00000000        0.02700000        0.02700000
  |    2: Species Si            1.35000000        1.35000000        1.35000000

  The structure contains        2 atoms,  and a total of         28.000 electrons.
  Occupation type: Gaussian broadening, width =   0.100000E-01 eV.
  | Number of Kohn-Sham states (occupied + empty):       20

          Begin self-consistency loop: Initialization.
          Begin self-consistency iteration #    1

  Self-consistency cycle converged.

  | Total energy                  :         -580.01000000 Ha      -15782.87000000 eV
  | Total energy uncorrected      :         -0.157828700000000E+05 eV
  | Total energy corrected        :         -0.157828800000000E+05 eV  <-- do not rely on this value for finite systems
  | Electronic free energy        :         -0.157828900000000E+05 eV

  Total atomic forces (unitary forces cleaned) [eV/Ang]:
  |    1         -0.259000000000000E-01        -0.410000000000000E+00        -0.410000000000000E+00
  |    2          0.259000000000000E-01         0.410000000000000E+00         0.410000000000000E+00

          Have a nice day.
------------------------------------------------------------
"""
